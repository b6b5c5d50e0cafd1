// What the `model` commands share; `model check` and `model convert` read or write every tensor of a checkpoint.
#pragma once

#include <string>

#include "app/common/command_line.h"
#include "nightreel/card/card.h"

namespace nightreel::app {

/// The folder's card. A file that is no model's at all is the caller's mistake: Error{usage}; a folder that cannot be
/// used is Error{model}.
card::Card card_of(const std::string& folder);

void add_model_check(CLI::App& model, Action& action);
void add_model_convert(CLI::App& model, Action& action);

}  // namespace nightreel::app
