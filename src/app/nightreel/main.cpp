#include "app/nightreel/subcommands.h"
#include "nightreel/base/error.h"

int main(int argc, char** argv) {
  using namespace nightreel;
  app::set_engine_environment();
  try {
    app::become_engine(argc, argv);
  } catch (const base::Error& e) {
    return app::show(e);
  }
  return app::run_command_line("Renders lists of prompts to videos with Wan models, on many GPUs",
                               {app::add_run, app::add_submit, app::add_status, app::add_cancel, app::add_retry,
                                app::add_doctor, app::add_bench_comm, app::add_version},
                               argc, argv, app::engine_subcommands());
}
