#include "nightreel/base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <optional>

#include "nightreel/base/error.h"
#include "nightreel/base/links.h"
#include "nightreel/base/publishing.h"
#include "nightreel/base/random.h"

namespace nightreel::base {
namespace {

Fd open_file(const std::string& path, int flags, unsigned mode = 0) {
  Fd fd(::open(path.c_str(), flags | O_CLOEXEC, mode));
  if (!fd) throw_errno("cannot open", path);
  return fd;
}

using Facts = std::optional<struct stat>;

Facts facts_of(const std::string& path) {
  struct stat facts {};
  if (::stat(path.c_str(), &facts) != 0) return std::nullopt;
  return facts;
}

// The times as well: the number of a file that is gone is soon another's.
bool same_file(const Facts& a, const Facts& b) {
  return a && b && a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
         a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

// Whether a link or a rename to `path` gave the file `before` that name, whatever it `said`: NFS repeats a call whose
// answer was lost, and the second one finds that there is nothing to do. Leaves errno as the call set it.
bool happened(int said, const Facts& before, const std::string& path) {
  if (said == 0) return true;
  const int error = errno;
  const bool there = same_file(before, facts_of(path));
  errno = error;
  return there;
}

void write_all(const Fd& fd, std::string_view content, const std::string& path) {
  while (!content.empty()) {
    const ssize_t n = ::write(fd.get(), content.data(), content.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw_errno("cannot write", path);
    content.remove_prefix(static_cast<std::size_t>(n));
  }
}

// Removes a temporary file that did not get its name.
class RemoveOnExit {
 public:
  explicit RemoveOnExit(std::string path) : path_(std::move(path)) {}
  RemoveOnExit(const RemoveOnExit&) = delete;
  RemoveOnExit& operator=(const RemoveOnExit&) = delete;
  ~RemoveOnExit() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }
  void keep() { path_.clear(); }

 private:
  std::string path_;
};

}  // namespace

void Fd::reset() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

void Fd::close(const std::string& path) {
  if (::close(release()) != 0) throw_errno("cannot close", path);
}

void check_regular(const Fd& fd, const std::string& path) {
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) throw_errno("cannot stat", path);
  if (S_ISDIR(info.st_mode)) throw Error(ErrorKind::storage, path + ": is a folder, a file is needed");
  if (!S_ISREG(info.st_mode)) throw Error(ErrorKind::storage, path + ": is no regular file (a pipe or a device)");
}

Fd open_regular(const std::string& path) {
  if (const std::string why = dangling_link(path); !why.empty()) {
    throw Error(ErrorKind::storage, printable(path, 4096) + ": " + why);
  }
  Fd fd = open_file(path, O_RDONLY | O_NONBLOCK);  // the open of a FIFO would wait for its writer
  check_regular(fd, path);
  return fd;
}

std::string read_file(const std::string& path, std::size_t limit) {
  return read_all(open_regular(path), path, limit);
}

std::string read_all(const Fd& fd, const std::string& path, std::size_t limit) {
  std::string content;
  char buffer[1U << 16U];
  for (;;) {
    const ssize_t n = ::read(fd.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw_errno("cannot read", path);
    if (n == 0) return content;
    content.append(buffer, static_cast<std::size_t>(n));
    if (content.size() > limit) {
      throw Error(ErrorKind::storage, path + ": larger than " + std::to_string(limit) + " bytes");
    }
  }
}

std::string parent_folder(const std::string& path) {
  const auto parent = std::filesystem::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

void make_folders(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) throw Error(ErrorKind::storage, "cannot make the folder " + path + ": " + error.message());
}

void sync_folder(const std::string& path) {
  const Fd fd = open_file(path, O_RDONLY | O_DIRECTORY);
  if (::fsync(fd.get()) != 0 && errno != EINVAL) throw_errno("cannot fsync", path);
}

void sync_file(const std::string& path) {
  const Fd fd = open_regular(path);
  if (::fsync(fd.get()) != 0) throw_errno("cannot fsync", path);
}

bool publish(const std::string& temporary, const std::string& path) {
  const Facts before = facts_of(temporary);
  if (happened(::link(temporary.c_str(), path.c_str()), before, path)) {
    ::unlink(temporary.c_str());  // the file has its name; a second one that stays is litter, no failure
    return true;
  }
  if (errno == EEXIST) return false;
  const int no_link = errno;
  if (no_link != EPERM && no_link != EOPNOTSUPP && no_link != ENOSYS) throw_errno("cannot link", path);
  if (happened(::renameat2(AT_FDCWD, temporary.c_str(), AT_FDCWD, path.c_str(), RENAME_NOREPLACE), before, path)) {
    return true;
  }
  if (errno == EEXIST) return false;
  // The flag is what the file system does not know: link(2) was refused for good, too.
  if (errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP) {
    throw Error(ErrorKind::storage, path + ": " + kNoPublishing + " (link: " + std::strerror(no_link) +
                                        "; renameat2: " + std::strerror(errno) + "); " + kPublishingFix);
  }
  throw_errno("cannot rename to", path);
}

void replace_file(const std::string& path, std::string_view content, unsigned mode) {
  const std::string temporary =
      parent_folder(path) + "/." + std::filesystem::path(path).filename().string() + "." + random_hex(8) + ".part";
  Fd fd = open_file(temporary, O_WRONLY | O_CREAT | O_EXCL, mode);
  RemoveOnExit guard(temporary);
  write_all(fd, content, temporary);
  if (::fsync(fd.get()) != 0) throw_errno("cannot fsync", temporary);
  fd.close(temporary);
  rename_file(temporary, path);
  guard.keep();
  sync_folder(parent_folder(path));
}

namespace {

// A device or a pipe is nobody's to replace: what root renames over /dev/null is the whole machine's from then on.
void refuse_special(const std::string& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) return;
  if (S_ISREG(info.st_mode) || S_ISLNK(info.st_mode) || S_ISDIR(info.st_mode)) return;
  throw Error(ErrorKind::storage, path + ": is no regular file, and is not replaced");
}

}  // namespace

void rename_file(const std::string& from, const std::string& to) {
  refuse_special(to);
  const Facts before = facts_of(from);
  if (!happened(::rename(from.c_str(), to.c_str()), before, to)) throw_errno("cannot rename to", to);
}

std::string file_stamp(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return {};
    throw_errno("cannot look at", path);
  }
  const auto time = [](const timespec& t) { return std::to_string(t.tv_sec) + "." + std::to_string(t.tv_nsec); };
  return std::to_string(info.st_ino) + ":" + std::to_string(info.st_size) + ":" + time(info.st_mtim) + ":" +
         time(info.st_ctim);
}

bool exists(const std::string& path) {
  std::error_code error;
  return std::filesystem::exists(path, error);
}

void remove_file(const std::string& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) throw_errno("cannot remove", path);
}

std::uint64_t free_bytes(const std::string& path) {
  struct statvfs info {};
  if (::statvfs(path.c_str(), &info) != 0) throw_errno("cannot statvfs", path);
  return static_cast<std::uint64_t>(info.f_bavail) * info.f_frsize;
}

}  // namespace nightreel::base
