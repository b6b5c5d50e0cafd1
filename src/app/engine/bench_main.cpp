// nightreel-bench: `bench` alone, for a GPU machine that has LibTorch, CUDA and a compiler but neither MPI, Redis, HDF5
// nor libav (preset engine). What starts a renderer is left out: there is none.
#include "app/engine/bench.h"

int main(int argc, char** argv) {
  using namespace nightreel::app;
  return run_command_line("Measures pieces of the work on this machine.",
                          {[](CLI::App& app, Action& action) { add_bench_with(app, action, {}); }}, argc, argv);
}
