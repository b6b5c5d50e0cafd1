#include "job/line_stream.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "nightreel/base/error.h"

namespace nightreel::job {
namespace {

using base::Error;
using base::ErrorKind;

[[noreturn]] void throw_read(const std::string& path) {
  throw Error(ErrorKind::usage, base::printable(path) + ": cannot be read: " + std::strerror(errno));
}

}  // namespace

LineStream::LineStream(const std::string& path, const JobFileLimits& limits) : path_(path), limits_(limits) {
  if (path == "-") return;
  owned_ = base::Fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!owned_) throw_read(path);
  fd_ = owned_.get();
}

bool LineStream::fill() {
  constexpr std::size_t kBlock = 1U << 16U;
  buffer_.resize(kBlock);
  at_ = 0;
  ssize_t n = 0;
  do {
    n = ::read(fd_, buffer_.data(), kBlock);
  } while (n < 0 && errno == EINTR);
  if (n < 0) throw_read(path_);
  buffer_.resize(static_cast<std::size_t>(n));
  bytes_ += buffer_.size();
  if (bytes_ > limits_.file) {
    throw Error(ErrorKind::usage,
                base::printable(path_) + ": is larger than " + std::to_string(limits_.file) + " bytes: split it");
  }
  return n > 0;
}

LineStream::Status LineStream::next(std::string& line) {
  line.clear();
  bool any = false;
  bool too_long = false;
  for (;;) {
    if (at_ == buffer_.size() && !fill()) {
      if (!any) return Status::end;
      break;
    }
    any = true;
    const auto end = buffer_.find('\n', at_);
    const auto stop = end == std::string::npos ? buffer_.size() : end;
    too_long = too_long || line.size() + (stop - at_) > limits_.line;
    if (!too_long) line.append(buffer_, at_, stop - at_);
    at_ = end == std::string::npos ? stop : stop + 1;
    if (end != std::string::npos) break;
  }
  ++number_;
  return too_long ? Status::too_long : Status::line;
}

}  // namespace nightreel::job
