// nightreel-engine's command lines, each in a fork of this process, which has loaded LibTorch already: a start costs
// milliseconds, not a second. What the command sees is what a start gives it: its arguments, environment, folder and
// descriptors, and nothing that an earlier command has left in memory. How a process ends is seen where one is started.
//
// stdin: one JSON object a line, {"arguments": ["generate", ...], "environment": {...}, "folder": ..., "stdin": FILE,
// "stdout": FILE, "stderr": FILE}. stdout: for each of them a line with its exit code, 128 + N for signal N.
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "app/engine/program.h"

namespace {

using nlohmann::json;

[[noreturn]] void give_up(const std::string& what) {
  ::perror(("engine_commands: " + what).c_str());
  ::_exit(125);
}

void open_as(int descriptor, const std::string& path, int flags) {
  const int opened = ::open(path.c_str(), flags | O_CLOEXEC, 0600);
  if (opened < 0 || ::dup2(opened, descriptor) < 0) give_up(path);
}

// In the fork.
[[noreturn]] void run(const json& request, pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(125);
  open_as(0, request.at("stdin").get<std::string>(), O_RDONLY);
  open_as(1, request.at("stdout").get<std::string>(), O_WRONLY | O_CREAT | O_TRUNC);
  open_as(2, request.at("stderr").get<std::string>(), O_WRONLY | O_CREAT | O_TRUNC);
  const auto folder = request.at("folder").get<std::string>();
  if (::chdir(folder.c_str()) != 0) give_up(folder);
  ::clearenv();
  for (const auto& [name, value] : request.at("environment").items()) {
    ::setenv(name.c_str(), value.get<std::string>().c_str(), 1);
  }
  std::vector<std::string> words{"nightreel-engine"};
  for (const auto& word : request.at("arguments")) words.push_back(word.get<std::string>());
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const int code = nightreel::app::run_engine(static_cast<int>(words.size()), argv.data());
  std::fflush(nullptr);
  std::cout.flush();
  ::_exit(code);  // LibTorch takes its thousands of operators apart again, which costs as much as a small command
}

int code_of(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) give_up("waitpid");
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

int main() {
  const pid_t parent = ::getpid();
  for (std::string line; std::getline(std::cin, line);) {
    const json request = json::parse(line);
    const pid_t child = ::fork();
    if (child < 0) give_up("fork");
    if (child == 0) run(request, parent);
    std::cout << code_of(child) << std::endl;
  }
}
