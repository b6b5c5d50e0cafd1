#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "app/nightreel/subcommands.h"
#include "nightreel/base/error.h"
#include "nightreel/base/pipe.h"
#include "nightreel/base/process.h"

namespace nightreel::app {
const Elsewhere& engine_subcommands() {
  static const Elsewhere kSubcommands{{"generate", "one video in this process"},
                                      {"decode", "archived latents to a video, without denoising"},
                                      {"model", "what a checkpoint is"},
                                      {"bench", "measures pieces, correctness beside each speed"},
                                      {"bench comm", "under mpirun: what renderers exchange, every byte checked"},
                                      {"render", "plumbing: the process that a rank starts"}};
  return kSubcommands;
}

void set_engine_environment() {
  if (std::getenv("OMP_WAIT_POLICY") == nullptr) ::setenv("GOMP_SPINCOUNT", "1000", /*overwrite=*/0);
}

void become_engine(int argc, char** argv) {
  int at = 1;  // of the subcommand, before which --config may stand
  while (at < argc && std::strncmp(argv[at], "--config", 8) == 0) at += argv[at][8] == '=' ? 1 : 2;
  const auto& known = engine_subcommands();
  if (at >= argc || std::none_of(known.begin(), known.end(), [&](const auto& s) { return s.first == argv[at]; }))
    return;
  if (std::strcmp(argv[at], "bench") == 0 && at + 1 < argc && std::strcmp(argv[at + 1], "comm") == 0) return;
  std::rotate(argv + 1, argv + at, argv + at + 1);
  std::string path = base::companion("nightreel-engine");
  argv[0] = path.data();
  ::execv(path.c_str(), argv);
  throw base::Error(base::ErrorKind::environment,
                    path + ": cannot be started (" + std::strerror(errno) + "); it belongs beside nightreel");
}

std::string engine_versions() {
  base::ChildOptions options;
  options.argv = {base::companion("nightreel-engine"), "version"};
  options.pipe_stdin = false;
  base::Child engine(options);
  base::LineReader lines(engine.stdout_fd(), 64U << 10U);
  std::string line;
  if (lines.next(line, std::chrono::seconds(60)) != base::LineReader::Status::line) {
    const auto ended = engine.wait(std::chrono::seconds(1));
    throw base::Error(base::ErrorKind::environment, options.argv[0] + ": does not tell its version (" +
                                                        ended.value_or("no answer within 60 s") + ")");
  }
  return line;
}

}  // namespace nightreel::app
