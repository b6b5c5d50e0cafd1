// What signals ask of a rank.
#include "nightreel/rank/signals.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <csignal>

#include "nightreel/base/file.h"
#include "nightreel/base/log.h"
#include "support/comes.h"

using namespace nightreel;
using namespace std::chrono_literals;
using rank::Ask;

namespace {

/// Mask and dispositions as they were, when the object has gone.
class KeptSignals {
 public:
  KeptSignals() { ::pthread_sigmask(SIG_SETMASK, nullptr, &mask_); }
  KeptSignals(const KeptSignals&) = delete;
  KeptSignals& operator=(const KeptSignals&) = delete;
  ~KeptSignals() {
    for (const int signal : {SIGHUP, SIGPIPE}) ::signal(signal, SIG_DFL);
    ::pthread_sigmask(SIG_SETMASK, &mask_, nullptr);
  }

 private:
  sigset_t mask_{};
};

}  // namespace

TEST_CASE("a rank stops at TERM, INT and HUP, and finishes at USR1") {
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1}) {
    const KeptSignals kept;
    const rank::Signals signals(1h);
    ::kill(::getpid(), signal);
    CHECK(test::comes([&] { return signals.asked() != Ask::go_on; }));
    CHECK(signals.asked() == (signal == SIGUSR1 ? Ask::finish : Ask::stop));
  }
}

TEST_CASE("under nohup a rank goes on") {
  const KeptSignals kept;
  ::signal(SIGHUP, SIG_IGN);
  const rank::Signals signals(1h);
  ::kill(::getpid(), SIGHUP);
  ::kill(::getpid(), SIGUSR1);  // comes after it
  CHECK(test::comes([&] { return signals.asked() != Ask::go_on; }));
  CHECK(signals.asked() == Ask::finish);
}

TEST_CASE("a log that nobody reads any more ends no rank") {
  const KeptSignals kept;
  const rank::Signals signals(1h);
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  const base::Fd saved(::dup(2));
  ::dup2(ends[1], 2);
  ::close(ends[1]);
  ::close(ends[0]);
  base::Logger::to_stderr(base::LogFormat::text, "rank 0").info("start", "into nothing");
  ::dup2(saved.get(), 2);
  CHECK(signals.asked() == Ask::go_on);
}
