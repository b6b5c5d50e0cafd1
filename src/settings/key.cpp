#include "nightreel/settings/key.h"

#include <algorithm>

#include "settings/value.h"

namespace nightreel::settings {
namespace {

// All that 0.1's key was made of, whatever group it is in now.
constexpr std::array<std::string_view, 17> kOf01{"prompt",
                                                 "negative_prompt",
                                                 "image",
                                                 "last_image",
                                                 "height",
                                                 "width",
                                                 "num_frames",
                                                 "fps",
                                                 "num_inference_steps",
                                                 "guidance_scale",
                                                 "guidance_scale_2",
                                                 "flow_shift",
                                                 "boundary_ratio",
                                                 "sampler",
                                                 "sigmas",
                                                 "seed",
                                                 "loras"};

bool is_of_0_1(const Row& row) {
  return std::count(kOf01.begin(), kOf01.end(), row.name) > 0;
}

}  // namespace

std::string key_text(const Settings& settings, std::span<const Row> table) {
  const Fields fields{settings, {}};
  Json counted = Json::object();
  for (const Row& row : table) {
    if (row.group != Group::sampling) continue;
    Json value = value_of(row, fields);
    if (!is_neutral(row, value)) counted[std::string(row.name)] = std::move(value);
  }
  return counted.dump();
}

std::optional<std::string> key_text_of_0_1(const Settings& settings, std::span<const Row> table) {
  const Fields fields{settings, {}};
  Json all = Json::object();
  for (const Row& row : table) {
    const Json value = value_of(row, fields);
    if (is_of_0_1(row)) {
      all[std::string(row.name)] = value;
    } else if (row.group == Group::sampling && !is_neutral(row, value)) {
      return std::nullopt;
    }
  }
  return all.dump();
}

std::vector<std::pair<std::string, std::string>> sampling_facts(const Settings& settings) {
  const Fields fields{settings, {}};
  std::vector<std::pair<std::string, std::string>> facts;
  for (const Row& row : rows()) {
    if (row.group == Group::sampling) facts.emplace_back(row.name, value_of(row, fields).dump());
  }
  return facts;
}

}  // namespace nightreel::settings
