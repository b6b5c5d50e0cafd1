#include "app/nightreel/program.h"
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
  return app::run_nightreel(argc, argv);
}
