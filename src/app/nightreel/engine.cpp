#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "app/nightreel/subcommands.h"
#include "nightreel/base/error.h"
#include "nightreel/base/pipe.h"
#include "nightreel/base/process.h"

namespace nightreel::app {
namespace {

std::string engine_path() {
  return base::executable_folder() + "/nightreel-engine";
}

}  // namespace

void become_engine(int argc, char** argv) {
  constexpr std::array<std::string_view, 5> kEngine{"generate", "decode", "model", "render", "bench"};
  if (argc < 2 || std::find(kEngine.begin(), kEngine.end(), argv[1]) == kEngine.end()) return;
  std::string path = engine_path();
  argv[0] = path.data();
  ::execv(path.c_str(), argv);
  throw base::Error(base::ErrorKind::environment,
                    path + ": cannot be started (" + std::strerror(errno) + "); it belongs beside nightreel");
}

std::string engine_versions() {
  base::ChildOptions options;
  options.argv = {engine_path(), "version"};
  options.pipe_stdin = false;
  base::Child engine(options);
  base::LineReader lines(engine.stdout_fd(), 64U << 10U);
  std::string line;
  if (lines.next(line, std::chrono::seconds(60)) != base::LineReader::Status::line) {
    const auto ended = engine.wait(std::chrono::seconds(1));
    throw base::Error(base::ErrorKind::environment,
                      engine_path() + ": does not tell its version (" + ended.value_or("no answer within 60 s") + ")");
  }
  return line;
}

}  // namespace nightreel::app
