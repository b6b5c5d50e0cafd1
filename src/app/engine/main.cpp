// nightreel-engine: what needs LibTorch. Started by nightreel, which stands beside it; argv[1] is the subcommand.
#include "app/common/command_line.h"
#include "app/engine/subcommands.h"

int main(int argc, char** argv) {
  using namespace nightreel::app;
  return run_command_line("Renders videos with Wan models. Usually started by nightreel.",
                          {add_render, add_generate, add_decode, add_model, add_bench, add_engine_version}, argc, argv);
}
