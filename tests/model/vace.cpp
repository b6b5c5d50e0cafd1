// B batch, C channels, F frames, Y rows, X columns of the latents; S tokens, D width.
#include "model/vace.h"

#include <ATen/ATen.h>

#include <map>

#include "nightreel/weights/weights.h"

namespace nightreel::test {

namespace {

/// What is added behind which block.
class Hints final : public model::BranchPass {
 public:
  void add(std::size_t block, at::Tensor hint_BSD) { hints_[block] = std::move(hint_BSD); }
  at::Tensor after(std::size_t block, at::Tensor x_BSD) override {
    const auto found = hints_.find(block);
    if (found == hints_.end()) return x_BSD;
    x_BSD.add_(found->second);
    hints_.erase(found);
    return x_BSD;
  }

 private:
  std::map<std::size_t, at::Tensor> hints_;
};

}  // namespace

ControlBranch::ControlBranch(const card::TransformerConfig& config, const base::Json& vace)
    : width_(config.width()), patch_embedding_(config, vace.at("vace_in_channels").get<std::int64_t>()) {
  for (const base::Json& layer : vace.at("vace_layers")) {
    layers_.push_back({layer.get<std::size_t>(), model::Block(config)});
  }
}

void ControlBranch::control(const at::Tensor& latents_BCFYX, const std::vector<double>& scales) {
  latents_BCFYX_ = latents_BCFYX;
  scales_ = scales;
}

void ControlBranch::parameters(model::ParameterList& list) {
  patch_embedding_.parameters("vace_patch_embedding", list);
  list.linear(in_, "vace_blocks.0.proj_in", width_, width_);
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const std::string name = "vace_blocks." + std::to_string(i) + ".";
    layers_[i].block.parameters(name, list);
    list.linear(layers_[i].out, name + "proj_out", width_, width_);
  }
}

std::unique_ptr<model::BranchPass> ControlBranch::begin(const at::Tensor& x_BSD, const model::TimeEmbeddings& times,
                                                        const model::Contexts& contexts,
                                                        const model::Tokens& tokens) const {
  auto hints = std::make_unique<Hints>();
  at::Tensor control_BSD = in_(patch_embedding_.forward(latents_BCFYX_, tokens)) + x_BSD;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    control_BSD = layers_[i].block.forward(std::move(control_BSD), times, contexts, tokens);
    hints->add(layers_[i].after, layers_[i].out(control_BSD).mul_(scales_.at(i)));
  }
  return hints;
}

ControlledTransformer load_controlled(const std::string& folder, const model::TransformerOptions& options) {
  const std::string path = folder + "/config.json";
  base::Json json = base::read_json(path);
  const base::Json vace = json;
  json.erase("vace_layers");
  json.erase("vace_in_channels");
  json["_class_name"] = "WanTransformer3DModel";  // what is left of it
  const card::TransformerConfig config = card::parse_transformer_config(json, path);
  weights::WeightMap weights = weights::WeightMap::open(folder);
  ControlledTransformer loaded{model::Transformer(config, weights, options),
                               std::make_shared<ControlBranch>(config, vace)};
  model::ParameterList list(options.dtype);
  loaded.branch->parameters(list);
  model::load_parameters(list.take(), weights, options.device);
  weights.expect_all_taken();
  loaded.transformer.add_branch(loaded.branch);
  return loaded;
}

}  // namespace nightreel::test
