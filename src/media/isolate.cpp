#include "media/isolate.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <optional>
#include <thread>

#include "media/hdf5.h"
#include "nightreel/base/clock.h"
#include "nightreel/base/error.h"
#include "nightreel/base/file.h"

namespace nightreel::media {
namespace {

using base::Error;
using base::ErrorKind;

constexpr std::size_t kMaxAnswer = std::size_t{32} << 30U;
constexpr char kGood = '+';
constexpr char kBad = '-';

[[noreturn]] void fail_isolated(const std::string& name, const std::string& what) {
  throw Error(ErrorKind::usage, base::printable(name, 4096) + ": " + what);
}

// Crashes stay silent: no handler of the caller's, no core file, no message of the C library.
void become_expendable(unsigned cpu_s) {
  for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGXCPU}) std::signal(signal, SIG_DFL);
  const rlimit cpu{cpu_s, cpu_s};
  const rlimit core{0, 0};
  ::setrlimit(RLIMIT_CPU, &cpu);
  ::setrlimit(RLIMIT_CORE, &core);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  const int null = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
  if (null >= 0) ::dup2(null, STDERR_FILENO);
}

bool write_all(int fd, const char* data, std::size_t size) {
  while (size > 0) {
    const ssize_t n = ::write(fd, data, size);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    data += n;
    size -= static_cast<std::size_t>(n);
  }
  return true;
}

// The exit code says whether the whole answer is in `fd`.
int child(int fd, unsigned cpu_s, const std::function<std::string()>& work) {
  become_expendable(cpu_s);
  char mark = kGood;
  std::string answer;
  try {
    answer = work();
  } catch (const Error& e) {
    mark = kBad;
    answer = static_cast<char>(e.kind()) + std::string(e.what());
  } catch (...) {
    return 1;
  }
  return write_all(fd, &mark, 1) && write_all(fd, answer.data(), answer.size()) ? 0 : 1;
}

// The processor time is limited by the system; this ends a child that sleeps, say on a lock that another thread of the
// parent held at the fork.
int wait_for(pid_t pid, unsigned cpu_s) {
  const base::Stopwatch watch;
  const double most = 10 + 4.0 * cpu_s;
  bool killed = false;
  for (;;) {
    int status = 0;
    const pid_t ended = ::waitpid(pid, &status, killed ? 0 : WNOHANG);
    if (ended == pid) return status;
    if (ended < 0 && errno != EINTR) throw Error(ErrorKind::internal, std::string("waitpid: ") + std::strerror(errno));
    if (watch.seconds() > most) {
      ::kill(pid, SIGKILL);
      killed = true;
    } else {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
}

}  // namespace

std::string run_isolated(const std::string& name, unsigned cpu_s, const std::function<std::string()>& work) {
  const base::Fd fd(::memfd_create("nightreel-isolated", MFD_CLOEXEC));
  if (!fd) base::throw_errno("cannot make memory for", name);
  std::optional<h5::Pause> pause(std::in_place);
  const pid_t pid = ::fork();
  pause.reset();  // in both processes
  if (pid < 0) base::throw_errno("cannot start a process for", name);
  if (pid == 0) ::_exit(child(fd.get(), cpu_s, work));
  const int status = wait_for(pid, cpu_s);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    fail_isolated(name, "is damaged: reading it failed without a reason");
  std::string answer = base::read_file("/proc/self/fd/" + std::to_string(fd.get()), kMaxAnswer);
  if (answer.size() >= 2 && answer[0] == kBad) {
    throw Error(static_cast<ErrorKind>(answer[1]), answer.substr(2));
  }
  if (answer.empty() || answer[0] != kGood) fail_isolated(name, "is damaged: reading it gave no answer");
  answer.erase(0, 1);
  return answer;
}

}  // namespace nightreel::media
