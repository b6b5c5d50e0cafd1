#include <unistd.h>

#include <algorithm>
#include <cerrno>
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

std::vector<std::string> engine_arguments(const std::vector<std::string>& arguments) {
  std::size_t at = 0;  // of the subcommand, before which --config may stand
  while (at < arguments.size() && arguments[at].rfind("--config", 0) == 0) {
    at += arguments[at].rfind("--config=", 0) == 0 ? 1 : 2;
  }
  const auto& known = engine_subcommands();
  const auto is_named = [&](const auto& one) { return one.first == arguments[at]; };
  if (at >= arguments.size() || std::none_of(known.begin(), known.end(), is_named)) return {};
  if (arguments[at] == "bench" && at + 1 < arguments.size() && arguments[at + 1] == "comm") return {};
  std::vector<std::string> out = arguments;
  const auto subcommand = out.begin() + static_cast<std::ptrdiff_t>(at);
  std::rotate(out.begin(), subcommand, subcommand + 1);
  return out;
}

void become_engine(int argc, char** argv) {
  std::vector<std::string> words = engine_arguments({argv + 1, argv + argc});
  if (words.empty()) return;
  const std::string path = base::companion("nightreel-engine");
  words.insert(words.begin(), path);
  std::vector<char*> pointers;
  for (auto& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  ::execv(path.c_str(), pointers.data());
  throw base::Error(base::ErrorKind::environment,
                    path + ": cannot be started (" + std::strerror(errno) + "); it belongs beside nightreel");
}

std::string engine_versions() {
  base::ChildOptions options;
  options.argv = {base::companion("nightreel-engine"), "version"};
  options.environment.take = base::EnvironmentRule::Take::listed;
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
