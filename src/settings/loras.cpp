#include "settings/loras.h"

#include <fmt/format.h>

#include <array>

#include "nightreel/base/error.h"
#include "nightreel/base/fields.h"

namespace nightreel::settings {
namespace {

using base::Json;

struct LoraField {
  std::string_view name;
  void (*read)(const Json& value, Lora& lora);
};

constexpr std::array<LoraField, 3> kFields{{
    {"path", [](const Json& v, Lora& l) { l.path = base::read_text(v, kMaxPrompt); }},
    {"scale", [](const Json& v, Lora& l) { l.scale = base::read_number(v, -kMaxLoraScale, kMaxLoraScale); }},
    {"expert",
     [](const Json& v, Lora& l) {
       l.expert = base::read_choice(v, {"high", "low", "both"});
     }},
}};

Lora read_lora(const Json& value) {
  if (!value.is_object()) base::refuse("an object {\"path\": …} is needed");
  std::vector<std::string> known;
  for (const auto& field : kFields) known.emplace_back(field.name);
  base::refuse_unknown(value, known);
  Lora lora;
  for (const auto& field : kFields) {
    const auto found = value.find(std::string(field.name));
    if (found == value.end()) continue;
    base::at_field(field.name, [&] { field.read(*found, lora); });
  }
  if (!value.contains("path")) base::refuse("path: is required");
  return lora;
}

}  // namespace

std::vector<Lora> read_loras(const Json& value, std::size_t most) {
  std::vector<Lora> loras;
  for (const auto& entry : base::read_array(value, most)) {
    base::at_field(fmt::format("[{}]", loras.size()), [&] { loras.push_back(read_lora(entry)); });
  }
  return loras;
}

std::vector<Lora> take_loras(const Json& value) {
  std::vector<Lora> loras;
  for (const auto& lora : value) {
    loras.push_back(
        {lora.at("path").get<std::string>(), lora.at("scale").get<double>(), lora.at("expert").get<std::string>()});
  }
  return loras;
}

Json loras_to_json(const std::vector<Lora>& loras) {
  Json out = Json::array();
  for (const auto& lora : loras) {
    out.push_back({{"path", lora.path}, {"scale", lora.scale}, {"expert", lora.expert}});
  }
  return out;
}

Json lora_schema() {
  return {{"type", "object"},
          {"properties",
           {{"path", {{"type", "string"}, {"minLength", 1}}},
            {"scale", {{"type", "number"}, {"minimum", -kMaxLoraScale}, {"maximum", kMaxLoraScale}}},
            {"expert", {{"enum", {"high", "low", "both"}}}}}},
          {"required", {"path"}},
          {"additionalProperties", false}};
}

}  // namespace nightreel::settings
