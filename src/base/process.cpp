#include "nightreel/base/process.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <tuple>

#include "base/spawn.h"
#include "nightreel/base/error.h"

namespace nightreel::base {
namespace {

std::vector<std::string> environment_for(const ChildOptions& options) {
  std::vector<std::pair<std::string, std::string>> set = options.set_env;
  if (options.environment.take != EnvironmentRule::Take::none) {
    set.emplace_back("NIGHTREEL_PARENT_PID", std::to_string(::getpid()));
  }
  return child_environment(options.environment, set);
}

std::pair<Fd, Fd> make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw_errno("cannot make", "a pipe");
  return {Fd(ends[0]), Fd(ends[1])};
}

}  // namespace

Child::Child(const ChildOptions& options) : group_(options.own_group) {
  SpawnPlan plan;
  Fd child_in;
  Fd child_out;
  if (options.pipe_stdin) {
    std::tie(child_in, in_) = make_pipe();
    plan.in = child_in.get();
  }
  if (options.pipe_stdout) {
    std::tie(out_, child_out) = make_pipe();
    plan.out = child_out.get();
  }
  plan.argv = options.argv;
  plan.env = environment_for(options);
  plan.stderr_path = options.stderr_path;
  plan.extra = options.inherit_fd;
  plan.own_group = options.own_group;
  plan.block_signals = options.block_signals;
  plan.die_with_thread = options.die_with_thread;
  pid_ = spawn(plan);
}

Child::Child(Child&& other) noexcept {
  *this = std::move(other);
}

Child& Child::operator=(Child&& other) noexcept {
  std::swap(pid_, other.pid_);
  std::swap(group_, other.group_);
  std::swap(code_, other.code_);
  std::swap(ended_, other.ended_);
  std::swap(in_, other.in_);
  std::swap(out_, other.out_);
  return *this;
}

Child::~Child() {
  if (pid_ <= 0 || !ended_.empty()) return;
  kill(SIGKILL);
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
}

void Child::kill(int signal) const {
  if (pid_ > 0 && ended_.empty()) ::kill(group_ ? -pid_ : pid_, signal);
}

std::optional<std::string> Child::wait(std::chrono::milliseconds timeout) {
  if (!ended_.empty()) return ended_;
  const auto until = std::chrono::steady_clock::now() + timeout;
  for (;;) {
    int status = 0;
    const pid_t ended = ::waitpid(pid_, &status, WNOHANG);
    if (ended == pid_) {
      code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      ended_ = WIFEXITED(status)
                   ? "exit code " + std::to_string(code_)
                   : "signal " + std::to_string(WTERMSIG(status)) + " (" + ::strsignal(WTERMSIG(status)) + ")";
      return ended_;
    }
    if (ended < 0 && errno != EINTR) throw Error(ErrorKind::internal, std::string("waitpid: ") + std::strerror(errno));
    if (std::chrono::steady_clock::now() >= until) return std::nullopt;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

void die_with_parent() {
  const char* parent = std::getenv("NIGHTREEL_PARENT_PID");
  if (parent == nullptr) return;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (std::to_string(::getppid()) != parent) ::_exit(3);
}

namespace {

std::string executable_folder() {
  std::array<char, PATH_MAX> path{};
  const ssize_t n = ::readlink("/proc/self/exe", path.data(), path.size() - 1);
  if (n <= 0) throw_errno("cannot read", "/proc/self/exe");
  return parent_folder(std::string(path.data(), static_cast<std::size_t>(n)));
}

}  // namespace

std::string companion(const std::string& name) {
  const std::string beside = executable_folder() + "/" + name;
  const std::string installed = executable_folder() + "/../libexec/nightreel/" + name;
  return ::access(beside.c_str(), X_OK) != 0 && ::access(installed.c_str(), X_OK) == 0 ? installed : beside;
}

}  // namespace nightreel::base
