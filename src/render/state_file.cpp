#include "render/state_file.h"

#include <ATen/ATen.h>

#include <cstdio>
#include <filesystem>

#include "nightreel/base/error.h"
#include "nightreel/base/hash.h"
#include "nightreel/media/checkpoint.h"
#include "nightreel/settings/key.h"

namespace nightreel::render {
namespace {

media::StateArray to_array(const at::Tensor& tensor) {
  const at::Tensor dense = tensor.to(at::kCPU, at::kFloat).contiguous();
  const auto* data = dense.const_data_ptr<float>();
  return {dense.sizes().vec(), std::vector<float>(data, data + dense.numel())};
}

at::Tensor to_tensor(const media::StateArray& array, const std::string& name) {
  const auto* values = std::get_if<std::vector<float>>(&array.values);
  if (values == nullptr) throw base::Error(base::ErrorKind::storage, name + ": is not float32");
  const at::Tensor tensor = at::empty(array.shape, at::kFloat);
  std::copy(values->begin(), values->end(), tensor.mutable_data_ptr<float>());
  return tensor;
}

/// Without the path in front and what is said behind for those who have no other file.
std::string reason_alone(const std::string& message, const std::string& path) {
  const std::string front = base::printable(path, 4096) + ": ";
  const std::string why = message.rfind(front, 0) == 0 ? message.substr(front.size()) : message;
  return why.substr(0, why.find("; without it"));
}

constexpr const char* kLatents = "latents";
constexpr const char* kSampler = "sampler-";

pipeline::DenoiseState from_file(const media::StateFile& file) {
  pipeline::DenoiseState state;
  state.sampler.next_step = file.info.at("next_step").get<std::int64_t>();
  for (const auto& [name, array] : file.arrays) {
    if (name == kLatents) {
      state.latents_CFYX = to_tensor(array, name);
    } else {
      state.sampler.tensors[name.substr(std::string(kSampler).size())] = to_tensor(array, name);
    }
  }
  return state;
}

}  // namespace

StateKey state_key(const settings::Settings& settings, const std::string& inputs_hash, const std::string& model_digest,
                   const std::string& job_hash) {
  const auto old = settings::key_text_of_0_1(settings);
  return {base::sha256_hex(settings::key_text(settings) + inputs_hash + job_hash), model_digest,
          old ? base::sha256_hex(*old + inputs_hash) : ""};
}

void save_state(const std::string& path, const StateKey& key, const pipeline::DenoiseState& state,
                const nlohmann::json& plan) {
  media::StateFile file;
  file.job_hash = key.settings_hash;
  file.model_digest = key.model_digest;
  file.info["next_step"] = state.sampler.next_step;
  file.info["plan"] = plan;
  file.arrays[kLatents] = to_array(state.latents_CFYX);
  for (const auto& [name, tensor] : state.sampler.tensors) file.arrays[kSampler + name] = to_array(tensor);
  media::write_state(path, file);
}

std::string misfit(const std::string& settings_hash, const std::string& model_digest, const StateKey& key) {
  if (model_digest != key.model_digest) return "is of another model";
  const bool old = !key.hash_of_0_1.empty() && settings_hash == key.hash_of_0_1;
  return settings_hash == key.settings_hash || old ? "" : "is of another job, or of other settings or inputs";
}

std::optional<pipeline::DenoiseState> load_state(const std::string& path, const StateKey& key,
                                                 const base::Logger& log) {
  if (path.empty() || !std::filesystem::exists(path)) return std::nullopt;
  std::string why;
  try {
    const media::StateFile file = media::read_state(path);
    why = misfit(file.job_hash, file.model_digest, key);
    if (why.empty()) return from_file(file);
  } catch (const base::Error& e) {
    if (e.kind() == base::ErrorKind::environment) throw;  // it could not be read: that says nothing about the file
    why = reason_alone(e.what(), path);
  } catch (const std::exception& e) {
    // Torn or foreign: the job must not fail for a file that only saves time.
    why = std::string("is damaged: ") + e.what();
  }
  std::rename(path.c_str(), (path + ".broken").c_str());
  log.warn("saved-state", path + ": " + why + ": it is set aside as " + path + ".broken, and the video begins anew");
  return std::nullopt;
}

}  // namespace nightreel::render
