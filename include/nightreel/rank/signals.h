// What the signals to a rank ask for.
//
// USR1: finish the videos in hand, then stop. TERM, INT, HUP (unless it was ignored, as under nohup) or a second USR1:
// give the leases back and stop within a second. PIPE is ignored from then on. The signals are blocked in every thread
// (so make this before MPI and before any thread) and read by a thread of its own from a signalfd; a rank that cannot
// react in time (it is stuck in a system call, in MPI, in a slow write) is ended by that thread with code 75, and its
// child processes with it: its leases expire by themselves.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <thread>

#include "nightreel/base/file.h"

namespace nightreel::rank {

enum class Ask { go_on, finish, stop };

class Signals {
 public:
  /// `grace`: from the ask to stop until the process is ended by force.
  explicit Signals(std::chrono::milliseconds grace = std::chrono::milliseconds(900));
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;
  ~Signals();

  Ask asked() const { return asked_.load(); }
  /// As if the signal had come: for a deadline, and for what one rank tells another.
  void ask(Ask what);

 private:
  void watch();
  void take(int signal);

  std::atomic<Ask> asked_{Ask::go_on};
  std::atomic<bool> over_{false};
  std::chrono::milliseconds grace_;
  base::Fd fd_;
  base::Fd wake_;
  std::thread thread_;
};

}  // namespace nightreel::rank
