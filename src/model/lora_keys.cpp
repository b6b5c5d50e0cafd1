#include "model/lora_keys.h"

#include <array>
#include <utility>

namespace nightreel::model {

namespace {

/// `marker` stands between the module and the rest, which is END or ADAPTER.END.
struct Marker {
  std::string_view text;
  std::string_view end;
  LoraRole role;
};
constexpr std::array<Marker, 8> kMarkers{{{".lora_A.", "weight", LoraRole::down},
                                          {".lora_B.", "weight", LoraRole::up},
                                          {".lora_B.", "bias", LoraRole::bias},
                                          {".lora_down.", "weight", LoraRole::down},
                                          {".lora_up.", "weight", LoraRole::up},
                                          {".lora_up.", "bias", LoraRole::bias},
                                          {".lora.down.", "weight", LoraRole::down},
                                          {".lora.up.", "weight", LoraRole::up}}};
constexpr std::array<std::pair<std::string_view, LoraRole>, 4> kEnds{{{".alpha", LoraRole::alpha},
                                                                      {".diff", LoraRole::difference},
                                                                      {".diff_b", LoraRole::bias_difference},
                                                                      {".diff_m", LoraRole::table_difference}}};

/// In the order in which they stand before a module: pipeline's part, peft's wrapping, the program that it is for.
constexpr std::array<std::pair<std::string_view, Expert>, 4> kExperts{{{"transformer_2.", Expert::low},
                                                                       {"low_noise_model.", Expert::low},
                                                                       {"transformer.", Expert::high},
                                                                       {"high_noise_model.", Expert::high}}};
constexpr std::string_view kPeft = "base_model.model.";
constexpr std::array<std::string_view, 3> kPrograms{"model.diffusion_model.", "diffusion_model.", "lora_unet_"};

constexpr std::array<std::pair<std::string_view, const char*>, 8> kForeign{{{"dora_scale", "DoRA"},
                                                                            {"lora_magnitude_vector", "DoRA"},
                                                                            {".magnitude", "DoRA"},
                                                                            {"lokr_", "LoKr"},
                                                                            {"hada_", "LoHa"},
                                                                            {"loha_", "LoHa"},
                                                                            {"boft_", "BOFT"},
                                                                            {"oft_", "OFT"}}};

bool take(std::string_view& name, std::string_view prefix) {
  if (name.substr(0, prefix.size()) != prefix) return false;
  name.remove_prefix(prefix.size());
  return true;
}

std::optional<Expert> take_expert(std::string_view& name) {
  for (const auto& [prefix, expert] : kExperts) {
    if (take(name, prefix)) return expert;
  }
  return std::nullopt;
}

LoraKey key_of(std::string_view module, LoraRole role) {
  auto expert = take_expert(module);
  if (take(module, kPeft) && !expert) expert = take_expert(module);
  for (const std::string_view program : kPrograms) {
    if (take(module, program)) break;
  }
  return {expert, std::string(module), role};
}

}  // namespace

std::optional<LoraKey> take_lora_key_apart(std::string_view name) {
  for (const Marker& marker : kMarkers) {
    const std::size_t at = name.rfind(marker.text);
    if (at == std::string_view::npos) continue;
    std::string_view rest = name.substr(at + marker.text.size());
    const std::size_t adapter = rest.find('.');  // peft's name of the adapter: .lora_A.default.weight
    if (adapter != std::string_view::npos && adapter > 0) rest.remove_prefix(adapter + 1);
    if (rest == marker.end) return key_of(name.substr(0, at), marker.role);
  }
  for (const auto& [end, role] : kEnds) {
    if (name.ends_with(end)) return key_of(name.substr(0, name.size() - end.size()), role);
  }
  return std::nullopt;
}

std::string foreign_adapter(std::string_view name) {
  for (const auto& [word, kind] : kForeign) {
    if (name.find(word) != std::string_view::npos) return kind;
  }
  return {};
}

}  // namespace nightreel::model
