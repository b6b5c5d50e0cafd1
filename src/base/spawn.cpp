// vfork, where posix_spawn would do but for PR_SET_PDEATHSIG: the child shares this process's memory and keeps its
// thread waiting until it has become the other program, so it calls nothing but the system. Unlike after fork(), no
// handler of a library (MPI's) runs, and no page table is copied.
#include "base/spawn.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "nightreel/base/error.h"
#include "nightreel/base/file.h"

namespace nightreel::base {
namespace {

constexpr std::array<int, 5> kForRanks{SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};

// All that the child needs, made before it exists.
struct Start {
  const char* path;
  char* const* argv;
  char* const* env;
  const char* stderr_path;  // null: none
  int in, out, extra;       // above 3, or -1
  bool own_group;
  bool die_with_thread;
  sigset_t mask;
  pid_t parent;
};

bool handlers_are_gone() {
  for (int signal = 1; signal < NSIG; ++signal) {
    struct sigaction action {};
    if (::sigaction(signal, nullptr, &action) != 0 || action.sa_handler == SIG_DFL) continue;
    const bool ours = signal == SIGPIPE || signal == SIGCHLD || signal == SIGTERM || signal == SIGINT ||
                      signal == SIGHUP || signal == SIGUSR1 || signal == SIGUSR2;
    if (action.sa_handler == SIG_IGN && !ours) continue;
    action = {};
    if (::sigaction(signal, &action, nullptr) != 0) return false;
  }
  return true;
}

// The system call itself: what stands before open(2) in this process (a sanitizer, a test's library) is no concern of
// the child's.
bool opened_as(int descriptor, const char* path, int flags) {
  const int opened = static_cast<int>(::syscall(SYS_openat, AT_FDCWD, path, flags, 0600));
  if (opened < 0 || opened == descriptor) return opened == descriptor;
  return ::dup2(opened, descriptor) == descriptor;  // the other one is closed with all above 2
}

bool descriptors_stand(const Start& start) {
  const bool input = start.in < 0 ? opened_as(0, "/dev/null", O_RDONLY) : ::dup2(start.in, 0) == 0;
  if (!input || (start.out >= 0 && ::dup2(start.out, 1) != 1)) return false;
  if (start.stderr_path != nullptr && !opened_as(2, start.stderr_path, O_WRONLY | O_CREAT | O_APPEND)) return false;
  if (start.extra >= 0 && ::dup2(start.extra, 3) != 3) return false;
  ::closefrom(start.extra >= 0 ? 4 : 3);
  return true;
}

// The order matters: a parent that is gone by now will not be told of by a signal.
bool ends_with_parent(const Start& start) {
  if (!start.die_with_thread) return true;
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return false;
  if (::getppid() != start.parent) ::_exit(127);
  return true;
}

[[noreturn]] void become(const Start& start, volatile int* error) {
  const bool ready = (!start.own_group || ::setpgid(0, 0) == 0) && ends_with_parent(start) && handlers_are_gone() &&
                     descriptors_stand(start) && ::sigprocmask(SIG_SETMASK, &start.mask, nullptr) == 0;
  if (ready) ::execve(start.path, start.argv, start.env);
  *error = errno == 0 ? EINVAL : errno;
  ::_exit(127);
}

// Nothing of this function may be needed after the child's return from it: it has none.
pid_t begin(const Start& start, volatile int* error) {
  const pid_t pid = ::vfork();  // NOLINT(clang-analyzer-security.insecureAPI.vfork): see the file's head
  if (pid == 0) become(start, error);
  return pid;
}

std::string found_in_path(const std::string& name) {
  if (name.find('/') != std::string::npos) return name;
  const char* path = std::getenv("PATH");
  std::string folders = path == nullptr ? "/bin:/usr/bin" : path;
  for (folders += ':'; !folders.empty(); folders.erase(0, folders.find(':') + 1)) {
    const std::string file = folders.substr(0, folders.find(':')) + "/" + name;
    struct stat info {};
    const bool is_file = ::stat(file.c_str(), &info) == 0 && S_ISREG(info.st_mode);
    if (is_file && ::access(file.c_str(), X_OK) == 0) return file;
  }
  return name;
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> out;
  for (auto& s : strings) out.push_back(s.data());
  out.push_back(nullptr);
  return out;
}

// Out of the way of 0 to 3: dup2 onto itself would keep a descriptor's close-on-exec flag.
Fd lifted(int descriptor) {
  if (descriptor < 0) return {};
  Fd out(::fcntl(descriptor, F_DUPFD_CLOEXEC, 4));
  if (!out) throw_errno("cannot duplicate", "a descriptor");
  return out;
}

// A handler of this process must not run in the child, which has its memory.
class AllSignalsBlocked {
 public:
  AllSignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  AllSignalsBlocked(const AllSignalsBlocked&) = delete;
  AllSignalsBlocked& operator=(const AllSignalsBlocked&) = delete;
  ~AllSignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_{};
};

}  // namespace

pid_t spawn(const SpawnPlan& plan) {
  std::vector<std::string> argv = plan.argv;
  std::vector<std::string> env = plan.env;
  const auto words = pointers(argv);
  const auto variables = pointers(env);
  const std::string path = found_in_path(argv.at(0));
  const Fd in = lifted(plan.in);
  const Fd out = lifted(plan.out);
  const Fd extra = lifted(plan.extra);
  Start start{path.c_str(),
              words.data(),
              variables.data(),
              plan.stderr_path.empty() ? nullptr : plan.stderr_path.c_str(),
              in.get(),
              out.get(),
              extra.get(),
              plan.own_group,
              plan.die_with_thread,
              {},
              ::getpid()};
  sigemptyset(&start.mask);
  if (plan.block_signals) {
    for (const int signal : kForRanks) sigaddset(&start.mask, signal);
  }
  volatile int error = 0;
  pid_t pid = -1;
  {
    const AllSignalsBlocked blocked;
    errno = 0;
    pid = begin(start, &error);
    if (pid < 0) error = errno;
  }
  if (pid > 0 && error != 0) ::waitpid(pid, nullptr, 0);
  if (error != 0) throw Error(ErrorKind::environment, "cannot start " + argv[0] + ": " + std::strerror(error));
  return pid;
}

}  // namespace nightreel::base
