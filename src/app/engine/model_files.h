// `model check` and `model convert`: what reads or writes every tensor of a checkpoint.
#pragma once

#include "app/common/command_line.h"

namespace nightreel::app {

void add_model_check(CLI::App& model, Action& action);
void add_model_convert(CLI::App& model, Action& action);

}  // namespace nightreel::app
