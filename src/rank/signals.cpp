#include "nightreel/rank/signals.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <optional>

#include "nightreel/base/error.h"

namespace nightreel::rank {
namespace {

using Clock = std::chrono::steady_clock;

bool is_ignored(int signal) {
  struct sigaction action {};
  return ::sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

// nohup lets its program ignore HUP; a signal that is blocked would come all the same.
sigset_t watched() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1}) sigaddset(&set, signal);
  if (!is_ignored(SIGHUP)) sigaddset(&set, SIGHUP);
  return set;
}

// By force means with the children: a renderer would notice, a redis-server would serve nobody for ever. Its data are
// on disk with every answer that it gave.
void kill_children() {
  std::error_code error;
  for (const auto& thread : std::filesystem::directory_iterator("/proc/self/task", error)) {
    std::ifstream children(thread.path() / "children");
    for (pid_t child = 0; children >> child;) {
      const bool leads = ::getpgid(child) == child;
      ::kill(leads ? -child : child, SIGKILL);
    }
  }
}

[[noreturn]] void end_by_force() {
  kill_children();
  ::_exit(75);  // no destructor may run: one of them could be what hangs
}

int left_ms(const std::optional<Clock::time_point>& until) {
  if (!until) return -1;
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(*until - Clock::now()).count();
  return left > 0 ? static_cast<int>(left) : 0;
}

}  // namespace

Signals::Signals(std::chrono::milliseconds grace) : grace_(grace) {
  const sigset_t set = watched();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  // Who read the log has gone: a line is lost, and a write to a pipe that somebody needs says so by itself.
  ::signal(SIGPIPE, SIG_IGN);
  fd_ = base::Fd(::signalfd(-1, &set, SFD_CLOEXEC));
  wake_ = base::Fd(::eventfd(0, EFD_CLOEXEC));
  if (!fd_ || !wake_) base::throw_errno("cannot make", "a signalfd");
  thread_ = std::thread([this] { watch(); });
}

Signals::~Signals() {
  over_ = true;
  const std::uint64_t one = 1;
  if (::write(wake_.get(), &one, sizeof one) == sizeof one) thread_.join();
}

void Signals::ask(Ask what) {
  Ask before = asked_.load();
  while (before < what && !asked_.compare_exchange_weak(before, what)) {
  }
  const std::uint64_t one = 1;
  if (::write(wake_.get(), &one, sizeof one) != sizeof one) base::throw_errno("cannot write", "an eventfd");
}

void Signals::take(int signal) {
  const bool again = signal == SIGUSR1 && asked_.load() == Ask::finish;
  const Ask what = signal == SIGUSR1 && !again ? Ask::finish : Ask::stop;
  if (asked_.load() < what) asked_.store(what);
}

void Signals::watch() {
  std::optional<Clock::time_point> end_by;
  while (!over_) {
    if (!end_by && asked_.load() == Ask::stop) end_by = Clock::now() + grace_;
    std::array<pollfd, 2> fds{{{fd_.get(), POLLIN, 0}, {wake_.get(), POLLIN, 0}}};
    ::poll(fds.data(), fds.size(), left_ms(end_by));
    if (over_) return;
    if (end_by && left_ms(end_by) == 0) end_by_force();
    signalfd_siginfo info{};
    if ((fds[0].revents & POLLIN) != 0 && ::read(fd_.get(), &info, sizeof info) == sizeof info) {
      take(static_cast<int>(info.ssi_signo));
    }
    std::uint64_t count = 0;
    if ((fds[1].revents & POLLIN) != 0 && ::read(wake_.get(), &count, sizeof count) != sizeof count) return;
  }
}

}  // namespace nightreel::rank
