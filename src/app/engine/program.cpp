#include "app/engine/program.h"

#include "app/engine/subcommands.h"

namespace nightreel::app {

int run_engine(int argc, char** argv) {
  return run_command_line("Renders videos with Wan models. Usually started by nightreel.",
                          {add_render, add_generate, add_decode, add_model, add_bench, add_engine_version}, argc, argv);
}

}  // namespace nightreel::app
