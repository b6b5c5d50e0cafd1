// A checkpoint's folder as a Diffusers folder, whichever of the two layouts it has.
//
// An original Wan folder has one config.json for each expert, in Wan's own words, and none for its other parts, whose
// dimensions Wan's code holds. It is told here in Diffusers' words: the JSON files that a Diffusers folder of the same
// model would have. A part whose dimensions are not the published ones says so in a real file of that name
// (vae/config.json, text_encoder/config.json, …), which then counts.
// Plain functions; any thread. Errors are base::Error{model} that name the file, the field and the fix.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "nightreel/base/json.h"

namespace nightreel::card {

using base::Json;

enum class Layout { diffusers, original };

/// Throws Error{model} that names what `folder` is instead: no folder, a single file, GGUF, …
Layout layout_of(const std::string& folder);

/// One of a Diffusers folder's JSON files, and the file that says what is in it, for errors.
struct CheckpointJson {
  Json json;
  std::string path;
};

/// The file `path` (FOLDER/model_index.json, FOLDER/COMPONENT/config.json, …), or what it would be where FOLDER has the
/// original layout.
CheckpointJson checkpoint_json(const std::string& path);

/// Those of image_encoder, text_encoder, transformer, transformer_2 and vae that the folder has, in this order.
std::vector<std::string> components_of(const std::string& folder);

/// The folder with spiece.model or tokenizer.json.
std::string tokenizer_folder(const std::string& folder);

/// True where FOLDER/COMPONENT names a component of a folder in the original layout.
bool is_original_component(const std::string& path);
/// Where an original folder keeps the tensors of FOLDER/COMPONENT: an expert's folder, or the one file of another part.
std::string original_weights(const std::string& path);

/// The JSON files by which a folder of the layout `as` says what `folder` is: name within the folder -> content.
/// Throws where the original layout has no words for it (Wan's code has no such model).
std::map<std::string, Json> config_files(const std::string& folder, Layout as);

/// Which of an original folder's subfolders or files hold a component's tensors, for writing one: "high_noise_model",
/// "." or "Wan2.1_VAE.safetensors"; `precision` is a word for the text encoder's file name (bf16, fp8, …).
std::string original_place(const std::string& folder, const std::string& component, const std::string& precision);

}  // namespace nightreel::card
