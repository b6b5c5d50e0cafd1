// An original Wan folder's configuration in Diffusers' words.
//
// Sources: wan/configs/*.py, wan/modules/{model,t5,clip,vae2_1,vae2_2}.py of Wan-Video/Wan2.1 and Wan2.2; diffusers'
// scripts/convert_wan_to_diffusers.py for what they are called there.
#pragma once

#include <string>
#include <vector>

#include "nightreel/base/json.h"
#include "nightreel/card/checkpoint.h"

namespace nightreel::card {

inline constexpr const char* kHighNoise = "high_noise_model";
inline constexpr const char* kLowNoise = "low_noise_model";
inline constexpr const char* kTextStem = "models_t5_umt5-xxl-enc-";  // bf16, or what `model convert` made of it
inline constexpr const char* kClipStem = "models_clip_open-clip-xlm-roberta-large-vit-huge-14";

/// One of the file names by which an original folder is told.
bool is_original_name(const std::string& name);

/// What the config.json of an expert says beside the dimensions.
struct OriginalModel {
  std::string type;                  // Wan's: t2v, i2v, flf2v, ti2v
  std::vector<std::string> experts;  // their folders, the high-noise one first: one or two
  bool clip() const { return experts.size() == 1 && (type == "i2v" || type == "flf2v"); }
};

OriginalModel read_original(const std::string& root);

/// `name` as in a Diffusers folder: vae/config.json. Throws for a name that no Diffusers folder has.
CheckpointJson original_json(const std::string& root, const std::string& name);

/// `type` and number of experts as Wan's code knows them: the boundary between the experts, 0 where there is one.
/// Throws for a combination that Wan does not have.
double original_boundary(const OriginalModel& model);
double original_flow_shift(const OriginalModel& model);

/// Wan2.1_VAE or Wan2.2_VAE.
std::string original_vae_name(const OriginalModel& model);

/// The expert's folder, or the file of another component; throws where it is missing, or two could be meant.
std::string original_weights_path(const std::string& root, const std::string& component);

}  // namespace nightreel::card
