#include "nightreel/settings/stated.h"

#include <algorithm>
#include <string>

#include "settings/value.h"

namespace nightreel::settings {
namespace {

bool may_state(Source source, const Row& row) {
  return source == Source::job || row.in_checkpoint;
}

// What only a job has comes first: it is what a checkpoint's file cannot help with.
std::vector<std::string> known_names(Source source) {
  std::vector<std::string> names;
  for (const bool in_checkpoint : {false, true}) {
    for (const Row& row : rows()) {
      if (row.in_checkpoint == in_checkpoint && may_state(source, row)) names.emplace_back(row.name);
    }
  }
  return names;
}

base::OtherNames other_names(Source source) {
  base::OtherNames others{{"size", "width and height"}};
  for (const Row& row : rows()) {
    if (!may_state(source, row)) continue;
    for (const auto alias : aliases_of(row)) others.emplace_back(alias, row.name);
  }
  return others;
}

}  // namespace

bool Stated::states(std::string_view name) const {
  return std::count(names.begin(), names.end(), name) > 0;
}

Stated read_stated(const Json& object, Source source) {
  base::refuse_unknown(object, known_names(source), other_names(source));
  Stated stated;
  for (const Row& row : rows()) {
    const auto found = object.find(std::string(row.name));
    if (found == object.end()) continue;
    base::at_field(row.name, [&] { read_value(row, *found, stated); });
    stated.names.push_back(row.name);
  }
  return stated;
}

void overlay(const Stated& stated, Settings& settings) {
  Fields fields{settings, {}};
  for (const Row& row : rows()) {
    if (row.group != Group::queue && stated.states(row.name)) copy_value(row, stated, fields);
  }
  settings = fields;
}

}  // namespace nightreel::settings
