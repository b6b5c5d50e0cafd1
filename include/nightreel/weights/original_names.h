// What the tensors of an original Wan checkpoint are called in Diffusers, and back.
//
// One table for each component holds pairs of names, so that both directions are the same list. No component needs its
// numbers changed: but for CLIP's attention, whose three projections lie one below the other in the original file, a
// tensor only changes its name (and CLIP's embeddings lose a dimension of 1).
// Immutable; any thread. Source: diffusers, loaders/single_file_utils.py (convert_wan_transformer_to_diffusers,
// convert_wan_vae_to_diffusers); wan/modules/{model,t5,clip,vae2_1,vae2_2}.py for the names on the other side.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "nightreel/card/configs.h"

namespace nightreel::weights {

class OriginalNames {
 public:
  /// `folder`: FOLDER/COMPONENT, as Diffusers calls it, in either layout (the VAE's blocks are counted by its card).
  explicit OriginalNames(const std::string& folder);

  /// One name, or the three names of which the original tensor is made, one below the other; none where nothing here
  /// uses the tensor (CLIP's text half). A name that the table does not know stays as it is.
  std::vector<std::string> diffusers(const std::string& original) const;

  /// The original name, and which of its `parts` the Diffusers tensor is. A name that the table does not know stays as
  /// it is.
  struct Place {
    std::string name;
    std::size_t part = 0;
    std::size_t parts = 1;
  };
  Place original(const std::string& diffusers) const;

  /// The original name's shape where it has one dimension more, of size 1, in front.
  static std::vector<std::int64_t> diffusers_shape(const std::string& component, const std::string& original,
                                                   std::vector<std::int64_t> shape);
  static std::vector<std::int64_t> original_shape(const std::string& component, const std::string& original,
                                                  std::vector<std::int64_t> shape);

 private:
  /// # stands for a number, a * at the end for one word: weight, bias, weight_scale.
  struct Rule {
    std::string original;
    std::vector<std::string> diffusers;
  };
  void add(const std::string& original, const std::string& diffusers);
  void add_transformer();
  void add_text_encoder();
  void add_image_encoder();
  void add_vae(const card::VaeConfig& config);
  void add_vae_stages(std::size_t stages, std::size_t blocks, bool residual);
  void add_residual_block(const std::string& original, const std::string& diffusers);
  void add_resample(const std::string& original, const std::string& diffusers);

  std::string component_;
  std::vector<Rule> rules_;
};

}  // namespace nightreel::weights
