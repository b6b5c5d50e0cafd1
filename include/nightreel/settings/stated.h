// What somebody has said of the settings: a job, or a checkpoint's nightreel.json. The rest stays open.
//
// Plain values; any thread. A misfit is an Error{job} "field: reason".
#pragma once

#include <string_view>
#include <vector>

#include "nightreel/base/fields.h"
#include "nightreel/base/json.h"
#include "nightreel/settings/row.h"

namespace nightreel::settings {

struct Stated : Fields {
  std::vector<std::string_view> names;  // of the rows that were given, in their order; the others are as in Fields{}
  bool states(std::string_view name) const;
};

enum class Source { job, checkpoint };

/// The object's members, each checked by its row. Refuses a member that the source may not state, with the nearest name
/// that it may. Paths stay as written.
Stated read_stated(const base::Json& object, Source source);

/// Puts what is stated of sampling and encoding in place of what `settings` has.
void overlay(const Stated& stated, Settings& settings);

}  // namespace nightreel::settings
