// Disks that are full and folders that may not be written, for one scope each.
#pragma once

#include <sys/resource.h>
#include <unistd.h>

#include <csignal>

namespace nightreel::media::test {

/// Any write beyond `bytes` of a file fails (EFBIG), as on a full disk but without one.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    before_handler_ = std::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit now{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &now);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, before_handler_);
  }

 private:
  rlimit before_{};
  void (*before_handler_)(int) = nullptr;
};

/// Root may write everywhere, so it becomes nobody (of the calling process) for the scope.
class Unprivileged {
 public:
  Unprivileged() : was_root_(::geteuid() == 0), changed_(was_root_ && ::seteuid(65534) == 0) {}
  Unprivileged(const Unprivileged&) = delete;
  Unprivileged& operator=(const Unprivileged&) = delete;
  ~Unprivileged() {
    if (changed_ && ::seteuid(0) != 0) std::abort();
  }
  bool holds() const { return !was_root_ || changed_; }

 private:
  bool was_root_;
  bool changed_;
};

}  // namespace nightreel::media::test
