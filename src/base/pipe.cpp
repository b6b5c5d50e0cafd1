#include "nightreel/base/pipe.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "nightreel/base/error.h"

namespace nightreel::base {
namespace {

using Clock = std::chrono::steady_clock;

bool wait_for(int fd, short events, Clock::time_point until) {
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()).count();
    pollfd entry{fd, events, 0};
    const int n = ::poll(&entry, 1, left > 0 ? static_cast<int>(left) : 0);
    if (n > 0) return true;
    if (n == 0) return false;
    if (errno != EINTR) throw Error(ErrorKind::renderer, std::string("poll: ") + std::strerror(errno));
  }
}

}  // namespace

SigpipeGuard::SigpipeGuard() {
  sigemptyset(&pipe_);
  sigaddset(&pipe_, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
}

SigpipeGuard::~SigpipeGuard() {
  // Nested guards, and threads that keep SIGPIPE blocked anyway, must not lose a signal that was theirs.
  if (sigismember(&before_, SIGPIPE) == 1) return;
  const timespec none{};
  while (sigtimedwait(&pipe_, nullptr, &none) == SIGPIPE) {
  }
  pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

void write_line(int fd, std::string_view line, std::chrono::milliseconds timeout) {
  const SigpipeGuard guard;
  const auto until = Clock::now() + timeout;
  const std::string whole = std::string(line) + "\n";
  std::string_view rest = whole;
  while (!rest.empty()) {
    if (!wait_for(fd, POLLOUT, until)) throw Error(ErrorKind::renderer, "the other end of the pipe takes nothing");
    const std::string_view piece = rest.substr(0, 4096);  // PIPE_BUF: a blocking write of more could hang past POLLOUT
    const ssize_t n = ::write(fd, piece.data(), piece.size());
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (n < 0) throw Error(ErrorKind::renderer, std::string("write to a pipe: ") + std::strerror(errno));
    rest.remove_prefix(static_cast<std::size_t>(n));
  }
}

std::optional<std::string> LineReader::take() {
  const auto end = buffer_.find('\n', scanned_);
  if (end == std::string::npos) {
    scanned_ = buffer_.size();
    if (buffer_.size() > max_line_) {
      throw Error(ErrorKind::renderer, "a line longer than " + std::to_string(max_line_) + " bytes on a pipe");
    }
    return std::nullopt;
  }
  if (end > max_line_) {
    throw Error(ErrorKind::renderer, "a line longer than " + std::to_string(max_line_) + " bytes on a pipe");
  }
  std::string line = buffer_.substr(0, end);
  buffer_.erase(0, end + 1);
  scanned_ = 0;
  return line;
}

LineReader::Status LineReader::next(std::string& line, std::chrono::milliseconds timeout) {
  const auto until = Clock::now() + timeout;
  for (;;) {
    if (auto found = take()) {
      line = std::move(*found);
      return Status::line;
    }
    if (!wait_for(fd_, POLLIN, until)) return Status::timeout;
    char bytes[1U << 16U];
    const ssize_t n = ::read(fd_, bytes, sizeof bytes);
    if (n == 0) return Status::closed;
    if (n > 0) buffer_.append(bytes, static_cast<std::size_t>(n));
    if (n < 0 && errno != EINTR && errno != EAGAIN) {
      throw Error(ErrorKind::renderer, std::string("read from a pipe: ") + std::strerror(errno));
    }
  }
}

}  // namespace nightreel::base
