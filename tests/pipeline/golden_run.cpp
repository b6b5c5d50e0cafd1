#include "pipeline/golden_run.h"

#include <filesystem>

#include "nightreel/base/json.h"
#include "nightreel/card/card.h"
#include "nightreel/weights/weights.h"

namespace nightreel::test {

namespace {

std::string scheduler_path(const std::string& model_dir) {
  return model_dir + "/scheduler/scheduler_config.json";
}

settings::Settings settings_of(const nlohmann::json& run, const nlohmann::json& scheduler) {
  settings::Settings settings;
  settings.height = run.at("height");
  settings.width = run.at("width");
  settings.num_frames = run.at("num_frames");
  settings.num_inference_steps = run.at("steps");
  settings.guidance_scale = run.at("guidance_scale");
  if (run.contains("guidance_scale_2")) settings.guidance_scale_2 = run.at("guidance_scale_2").get<double>();
  if (run.contains("boundary_ratio")) settings.boundary_ratio = run.at("boundary_ratio").get<double>();
  settings.flow_shift = scheduler.at("flow_shift");
  settings.seed = run.at("seed");
  settings.sampler = run.value("sampler", settings.sampler);
  settings.sigmas = run.value("sigmas", settings.sigmas);
  if (run.contains("image")) settings.image = "first.png";  // looked at by nobody: the pixels are in the goldens
  if (run.contains("last_image")) settings.last_image = "last.png";
  return settings;
}

/// Null where the checkpoint has no such expert.
std::unique_ptr<model::Transformer> load_transformer(const std::string& folder, at::Device device,
                                                     at::ScalarType dtype) {
  if (!std::filesystem::exists(folder)) return nullptr;
  weights::WeightMap weights = weights::WeightMap::open(folder);
  auto transformer = std::make_unique<model::Transformer>(card::read_transformer_config(folder), weights,
                                                          model::TransformerOptions{device, dtype});
  weights.expect_all_taken();
  return transformer;
}

}  // namespace

GoldenRun::GoldenRun(const std::string& name, const std::string& run)
    : golden_(name + "/" + run), model_dir_(golden_path(name + "/model")) {
  const nlohmann::json recorded = golden_.settings();
  settings = settings_of(recorded, base::read_json(scheduler_path(model_dir_)));
  for (const auto& lora : recorded.value("loras", nlohmann::json::array())) {
    const std::string path = golden_path(name + "/" + lora.at("path").get<std::string>());
    settings.loras.push_back({path, lora.at("scale"), lora.at("expert")});
  }
}

pipeline::Pictures GoldenRun::pictures() const {
  const auto picture = [&](const char* name) { return golden_.has(name) ? tensor(name).to(at::kByte) : at::Tensor(); };
  return {picture("image"), picture("last_image"), picture("clip_image"), picture("clip_last_image")};
}

pipeline::Denoiser GoldenRun::denoiser(at::Device device, at::ScalarType dtype, std::optional<bool> keep_keys) const {
  const pipeline::DenoiserOptions options{card::read(model_dir_), device, keep_keys, {}};
  return {load_transformer(model_dir_ + "/transformer", device, dtype),
          load_transformer(model_dir_ + "/transformer_2", device, dtype), options};
}

}  // namespace nightreel::test
