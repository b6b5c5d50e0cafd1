// nightreel-engine: what needs LibTorch. Started by nightreel, which stands beside it; argv[1] is the subcommand.
#include "app/engine/program.h"

int main(int argc, char** argv) {
  return nightreel::app::run_engine(argc, argv);
}
