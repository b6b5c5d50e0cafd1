#include "app/nightreel/program.h"

#include "app/nightreel/subcommands.h"

namespace nightreel::app {

int run_nightreel(int argc, char** argv) {
  return run_command_line(
      "Renders lists of prompts to videos with Wan models, on many GPUs",
      {add_run, add_submit, add_status, add_cancel, add_retry, add_doctor, add_bench_comm, add_version}, argc, argv,
      engine_subcommands());
}

}  // namespace nightreel::app
