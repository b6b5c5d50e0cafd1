// A row's value in Fields, read and written.
#pragma once

#include <string>

#include "nightreel/base/json.h"
#include "nightreel/settings/row.h"

namespace nightreel::settings {

using base::Json;

/// Checked by the row. Throws Error{job} with the reason alone.
void read_value(const Row& row, const Json& value, Fields& fields);

/// The type alone is checked. Throws nlohmann's exceptions, and Error{internal} for integers that do not fit.
void take_value(const Row& row, const Json& value, Fields& fields);

Json value_of(const Row& row, const Fields& fields);

void copy_value(const Row& row, const Fields& from, Fields& to);

/// At its neutral value: as if there were no such setting.
bool is_neutral(const Row& row, const Json& value);

}  // namespace nightreel::settings
