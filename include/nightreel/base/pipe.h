// Lines over file descriptors, with a bounded length: how a rank and its renderer talk.
#pragma once

#include <chrono>
#include <csignal>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace nightreel::base {

/// Blocks SIGPIPE for the calling thread and takes away the one that a write may have left pending: round every write
/// to a pipe or a socket that a library does with write(2).
class SigpipeGuard {
 public:
  SigpipeGuard();
  SigpipeGuard(const SigpipeGuard&) = delete;
  SigpipeGuard& operator=(const SigpipeGuard&) = delete;
  ~SigpipeGuard();

 private:
  sigset_t pipe_{};
  sigset_t before_{};
};

/// Writes all of `line` and a newline. Throws Error{renderer} when the other end is gone (EPIPE; SIGPIPE is blocked
/// for the call) or when it has not taken the line within `timeout`.
void write_line(int fd, std::string_view line, std::chrono::milliseconds timeout = std::chrono::seconds(10));

/// Cuts a stream of bytes into lines. One thread.
class LineReader {
 public:
  LineReader(int fd, std::size_t max_line) : fd_(fd), max_line_(max_line) {}
  enum class Status { line, timeout, closed };
  /// Waits at most `timeout` for a whole line. `line` is set when Status::line is returned. A line longer than
  /// max_line throws Error{renderer}; so does a read error. An unfinished last line before the end is dropped.
  Status next(std::string& line, std::chrono::milliseconds timeout);
  int fd() const { return fd_; }

 private:
  std::optional<std::string> take();
  int fd_;
  std::size_t max_line_;
  std::string buffer_;
  std::size_t scanned_ = 0;
};

}  // namespace nightreel::base
