#include "nightreel/settings/pages.h"

#include <fmt/format.h>

#include <algorithm>

#include "nightreel/settings/row.h"
#include "settings/loras.h"
#include "settings/text.h"

namespace nightreel::settings {
namespace {

using base::Json;

std::string in_code(std::string_view text) {
  return "`" + std::string(text) + "`";
}

// Names of fields, values and JSON are set in code, as far as a row can tell.
std::string default_cell(const Row& row) {
  if (row.fallback.empty()) return "– (required)";
  const bool value = row.fallback == "[]" || row.fallback == "0";
  return value ? in_code(row.fallback) : std::string(row.fallback);
}

std::string range_cell(const Row& row) {
  std::string range = range_text(row);
  if (const auto choices = choices_of(row); !choices.empty()) {
    range.clear();
    for (const auto choice : choices) range += (range.empty() ? "" : ", ") + in_code(choice);
  }
  if (!row.unit.empty()) range += " " + std::string(row.unit);
  return range;
}

Json number_schema(const Row& row) {
  Json schema{{"type", is_whole(row) ? "integer" : "number"}, {"maximum", row.high}};
  schema[row.above ? "exclusiveMinimum" : "minimum"] = row.low;
  return schema;
}

Json list_schema(const Row& row) {
  Json schema{{"type", "array"}, {"maxItems", row.most}};
  if (std::holds_alternative<std::vector<Lora> Fields::*>(row.member)) {
    schema["items"] = lora_schema();
    return schema;
  }
  schema["items"] = number_schema(row);
  schema["minItems"] = 1;
  schema["uniqueItems"] = true;
  return schema;
}

// maxLength counts characters, of which a text has no more than bytes.
Json text_schema(const Row& row) {
  Json schema{{"type", "string"}};
  if (row.most > 0) schema["maxLength"] = row.most;
  if (row.form == Form::path) schema["minLength"] = 1;
  if (row.form == Form::filled) schema["pattern"] = "[^ \\t-\\r]";
  if (row.form == Form::id) schema["pattern"] = "^(?!inbox-)[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$";
  if (const auto choices = choices_of(row); !choices.empty()) schema["enum"] = choices;
  return schema;
}

Json schema_of(const Row& row) {
  Json schema = is_number(row) ? number_schema(row) : is_list(row) ? list_schema(row) : text_schema(row);
  const std::string unit = row.unit.empty() ? "" : std::string(row.unit) + ": ";
  schema["description"] = unit + std::string(row.help);
  return schema;
}

}  // namespace

std::string table() {
  std::string out = "| field | default | range | meaning |\n| --- | --- | --- | --- |\n";
  for (const Row& row : rows()) {
    out += fmt::format("| {} | {} | {} | {} |\n", in_code(row.name), default_cell(row), range_cell(row), row.help);
  }
  return out;
}

Json schema() {
  Json properties = Json::object();
  for (const Row& row : rows()) properties[std::string(row.name)] = schema_of(row);
  return {{"$schema", "https://json-schema.org/draft/2020-12/schema"},
          {"title", "A job of nightreel"},
          {"type", "object"},
          {"properties", properties},
          {"required", {"prompt"}},
          {"dependentRequired", {{"last_image", {"image"}}}},
          {"additionalProperties", false}};
}

}  // namespace nightreel::settings
