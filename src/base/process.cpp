#include "nightreel/base/process.h"

#include <fcntl.h>
#include <spawn.h>
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

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> out;
  for (auto& s : strings) out.push_back(s.data());
  out.push_back(nullptr);
  return out;
}

std::pair<Fd, Fd> make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw_errno("cannot make", "a pipe");
  return {Fd(ends[0]), Fd(ends[1])};
}

// posix_spawn's two objects, freed together.
struct SpawnPlan {
  posix_spawn_file_actions_t actions{};
  posix_spawnattr_t attributes{};
  SpawnPlan() {
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;
  ~SpawnPlan() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
};

void plan_signals(SpawnPlan& plan, const ChildOptions& options) {
  sigset_t blocked;
  sigemptyset(&blocked);
  if (options.block_signals) {
    for (const int signal : {SIGTERM, SIGINT, SIGUSR1, SIGUSR2}) sigaddset(&blocked, signal);
  }
  sigset_t defaults;
  sigemptyset(&defaults);
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGPIPE, SIGCHLD}) sigaddset(&defaults, signal);
  short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
  if (options.own_group) flags |= POSIX_SPAWN_SETPGROUP;
  posix_spawnattr_setflags(&plan.attributes, flags);
  posix_spawnattr_setpgroup(&plan.attributes, 0);
  posix_spawnattr_setsigmask(&plan.attributes, &blocked);
  posix_spawnattr_setsigdefault(&plan.attributes, &defaults);
}

}  // namespace

Child::Child(const ChildOptions& options) : group_(options.own_group) {
  SpawnPlan plan;
  Fd child_in;
  Fd child_out;
  if (options.pipe_stdin) {
    std::tie(child_in, in_) = make_pipe();
    posix_spawn_file_actions_adddup2(&plan.actions, child_in.get(), 0);
  } else {
    posix_spawn_file_actions_addopen(&plan.actions, 0, "/dev/null", O_RDONLY, 0);
  }
  if (options.pipe_stdout) {
    std::tie(out_, child_out) = make_pipe();
    posix_spawn_file_actions_adddup2(&plan.actions, child_out.get(), 1);
  }
  if (!options.stderr_path.empty()) {
    posix_spawn_file_actions_addopen(&plan.actions, 2, options.stderr_path.c_str(), O_WRONLY | O_CREAT | O_APPEND,
                                     0600);
  }
  Fd inherited;  // not 3 itself: dup2 of a descriptor onto itself would keep its close-on-exec flag
  if (options.inherit_fd >= 0) {
    inherited = Fd(::fcntl(options.inherit_fd, F_DUPFD_CLOEXEC, 4));
    posix_spawn_file_actions_adddup2(&plan.actions, inherited.get(), 3);
  }
  posix_spawn_file_actions_addclosefrom_np(&plan.actions, inherited ? 4 : 3);
  plan_signals(plan, options);
  std::vector<std::string> argv = options.argv;
  std::vector<std::string> env = environment_for(options);
  const int error = ::posix_spawnp(&pid_, argv.at(0).c_str(), &plan.actions, &plan.attributes, pointers(argv).data(),
                                   pointers(env).data());
  if (error != 0) {
    pid_ = -1;
    throw Error(ErrorKind::environment, "cannot start " + argv[0] + ": " + std::strerror(error));
  }
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
