// Feeds each fuzz target its corpus, in any build: fuzz_replay CORPUS [TARGET…], CORPUS a folder with a folder for each
// target. What is found ends the program; its input is the last one named on stderr.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "nightreel/base/file.h"

// LLVMFuzzerTestOneInput of each target, by the name that tests/fuzz/CMakeLists.txt gives it here.
#define NIGHTREEL_FUZZ_TARGET(name) extern "C" int fuzz_##name(const std::uint8_t* data, std::size_t size);
#include "fuzz_targets.inc"
#undef NIGHTREEL_FUZZ_TARGET

namespace {

struct Target {
  const char* name;
  int (*run)(const std::uint8_t* data, std::size_t size);
};

constexpr Target kTargets[] = {
#define NIGHTREEL_FUZZ_TARGET(name) {#name, fuzz_##name},
#include "fuzz_targets.inc"
#undef NIGHTREEL_FUZZ_TARGET
};

std::vector<std::string> inputs_of(const std::string& folder) {
  std::vector<std::string> files;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) files.push_back(entry.path().string());
  std::sort(files.begin(), files.end());
  return files;
}

/// How many inputs there were.
std::size_t replay(const Target& target, const std::string& corpus) {
  const auto files = inputs_of(corpus + "/" + target.name);
  for (const std::string& file : files) {
    std::fprintf(stderr, "%s\n", file.c_str());
    const std::string content = nightreel::base::read_file(file, 64U << 20U);
    target.run(reinterpret_cast<const std::uint8_t*>(content.data()), content.size());
  }
  return files.size();
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> wanted(argv + std::min(argc, 2), argv + argc);
  bool complete = argc > 1;
  std::size_t played = 0;
  for (const Target& target : kTargets) {
    if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), target.name) == wanted.end()) continue;
    const std::size_t inputs = complete ? replay(target, argv[1]) : 0;
    std::printf("%s: %zu inputs\n", target.name, inputs);
    complete = complete && inputs > 0;
    ++played;
  }
  if (complete && played >= wanted.size() && played > 0) return 0;
  std::fprintf(stderr, "fuzz_replay: a folder CORPUS/TARGET with inputs is needed for each target\n");
  return 2;
}
