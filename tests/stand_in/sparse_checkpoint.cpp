// Files of weights of the published sizes, all zeros: sparse, so that 70 GB take a few hundred kilobytes of the disk.
//
//   sparse_checkpoint FOLDER   a checkpoint in Diffusers' layout that has its config.json files (published_sizes.py)
#include <cstdio>
#include <exception>

#include "nightreel/bench/random_weights.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: sparse_checkpoint FOLDER\n");
    return 2;
  }
  try {
    nightreel::bench::write_sparse_weights(argv[1], at::kBFloat16);
    return 0;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "sparse_checkpoint: %s\n", e.what());
    return 1;
  }
}
