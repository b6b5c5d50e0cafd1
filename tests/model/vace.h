// VACE's control branch (Jiang et al., arXiv:2503.07598), as a stranger would add it: blocks of its own that look at
// control latents, and whose projected tokens are added behind some of the transformer's blocks.
//
// Formulas: diffusers 0.42.1, WanVACETransformer3DModel (models/transformers/transformer_wan_vace.py).
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

#include "nightreel/base/json.h"
#include "nightreel/model/block.h"
#include "nightreel/model/branch.h"
#include "nightreel/model/transformer.h"

namespace nightreel::test {

class ControlBranch final : public model::Branch {
 public:
  /// `vace`: the two fields of config.json that a transformer without control does not have.
  ControlBranch(const card::TransformerConfig& config, const base::Json& vace);

  /// Of the video that comes next: its control latents, and how strongly each layer counts.
  void control(const at::Tensor& latents_BCFYX, const std::vector<double>& scales);

  void parameters(model::ParameterList& list) override;
  std::unique_ptr<model::BranchPass> begin(const at::Tensor& x_BSD, const model::TimeEmbeddings& times,
                                           const model::Contexts& contexts, const model::Tokens& tokens) const override;

 private:
  struct Layer {
    std::size_t after;  // this block of the transformer
    model::Block block;
    model::Linear out = {};
  };

  std::int64_t width_;
  model::PatchEmbedding patch_embedding_;
  model::Linear in_;
  std::vector<Layer> layers_;
  at::Tensor latents_BCFYX_;
  std::vector<double> scales_;
};

/// A transformer with its branch, all of its folder's tensors in their places.
struct ControlledTransformer {
  model::Transformer transformer;
  std::shared_ptr<ControlBranch> branch;
};
ControlledTransformer load_controlled(const std::string& folder, const model::TransformerOptions& options);

}  // namespace nightreel::test
