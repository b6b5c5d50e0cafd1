#include "nightreel/job/settings.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "nightreel/base/error.h"

namespace nightreel::job {
namespace {

using nlohmann::json;

json optional_to_json(const std::optional<double>& value) {
  return value ? json(*value) : json(nullptr);
}

std::optional<double> optional_from_json(const json& value) {
  return value.is_null() ? std::nullopt : std::optional(value.get<double>());
}

/// nlohmann turns 1.5, -1 and 1e300 into any integer type without a word.
template <typename Target>
void get_integer(const json& settings, const char* name, Target& target) {
  const json& value = settings.at(name);
  const bool fits = value.is_number_unsigned()
                        ? std::in_range<Target>(value.get<std::uint64_t>())
                        : value.is_number_integer() && std::in_range<Target>(value.get<std::int64_t>());
  if (!fits)
    throw base::Error(base::ErrorKind::internal, std::string("settings: ") + name + " is no integer of its type");
  value.get_to(target);
}

}  // namespace

json to_json(const Settings& s) {
  json loras = json::array();
  for (const auto& lora : s.loras) {
    loras.push_back({{"path", lora.path}, {"scale", lora.scale}, {"expert", lora.expert}});
  }
  return {{"prompt", s.prompt},
          {"negative_prompt", s.negative_prompt},
          {"image", s.image},
          {"last_image", s.last_image},
          {"height", s.height},
          {"width", s.width},
          {"num_frames", s.num_frames},
          {"fps", s.fps},
          {"num_inference_steps", s.num_inference_steps},
          {"guidance_scale", s.guidance_scale},
          {"guidance_scale_2", optional_to_json(s.guidance_scale_2)},
          {"flow_shift", s.flow_shift},
          {"boundary_ratio", optional_to_json(s.boundary_ratio)},
          {"sampler", s.sampler},
          {"sigmas", s.sigmas},
          {"seed", s.seed},
          {"loras", loras}};
}

Settings settings_from_json(const json& j) {
  try {
    Settings s;
    j.at("prompt").get_to(s.prompt);
    j.at("negative_prompt").get_to(s.negative_prompt);
    j.at("image").get_to(s.image);
    j.at("last_image").get_to(s.last_image);
    get_integer(j, "height", s.height);
    get_integer(j, "width", s.width);
    get_integer(j, "num_frames", s.num_frames);
    j.at("fps").get_to(s.fps);
    get_integer(j, "num_inference_steps", s.num_inference_steps);
    j.at("guidance_scale").get_to(s.guidance_scale);
    s.guidance_scale_2 = optional_from_json(j.at("guidance_scale_2"));
    j.at("flow_shift").get_to(s.flow_shift);
    s.boundary_ratio = optional_from_json(j.at("boundary_ratio"));
    j.at("sampler").get_to(s.sampler);
    j.at("sigmas").get_to(s.sigmas);
    get_integer(j, "seed", s.seed);
    for (const auto& lora : j.at("loras")) {
      s.loras.push_back(
          {lora.at("path").get<std::string>(), lora.at("scale").get<double>(), lora.at("expert").get<std::string>()});
    }
    return s;
  } catch (const json::exception& e) {
    throw base::Error(base::ErrorKind::internal, std::string("settings: ") + e.what());
  }
}

}  // namespace nightreel::job
