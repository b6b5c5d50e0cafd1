// Files that appear whole or not at all.
//
// Everything throws Error{storage} with the path and the system's reason. No state; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace nightreel::base {

/// Owns a file descriptor.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(other.release()) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = other.release();
    }
    return *this;
  }
  ~Fd() { reset(); }
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  int release() {
    const int fd = fd_;
    fd_ = -1;
    return fd;
  }
  /// Closes and ignores the error: for descriptors that were only read.
  void reset();
  /// Closes; throws where the system reports a delayed write error (NFS, quotas).
  void close(const std::string& path);

 private:
  int fd_ = -1;
};

/// Throws where `fd` is anything but a regular file: a folder, a pipe, a device.
void check_regular(const Fd& fd, const std::string& path);

/// A regular file, opened for reading. A FIFO or a device that stands in its place is refused, and waited for never.
Fd open_regular(const std::string& path);

/// The whole file, which must be a regular one, at most `limit` bytes (more is an error that says so).
std::string read_file(const std::string& path, std::size_t limit);

/// The same of a file that is open, from where it stands; `path` is for messages.
std::string read_all(const Fd& fd, const std::string& path, std::size_t limit);

/// The folder of `path` ("." for a bare name).
std::string parent_folder(const std::string& path);

/// Makes the folder and its parents.
void make_folders(const std::string& path);

/// fsync of a folder, after which a link or a rename in it survives a power cut.
void sync_folder(const std::string& path);

/// fsync of a file that something else wrote.
void sync_file(const std::string& path);

/// Gives `temporary` the name `path`, which must not exist, and removes the name `temporary`: link(2), or
/// renameat2(RENAME_NOREPLACE) on file systems without hard links. Nothing is ever replaced: returns false where
/// `path` exists and is another file. A link that reports an error but happened (NFS) counts as done. A file system
/// that can do neither is named in the error, with the fix (check_publishing, publishing.h, finds it before any work).
bool publish(const std::string& temporary, const std::string& path);

/// Replaces `path` by `content`, whole: temporary name in the same folder, fsync, rename, fsync of the folder.
void replace_file(const std::string& path, std::string_view content, unsigned mode = 0644);

/// rename(2): `to` is replaced, whole, but never a device, a pipe or a socket. Throws Error{storage}, also where `from`
/// is not there. One that reports an error but happened (NFS) counts as done.
void rename_file(const std::string& from, const std::string& to);

/// Inode, size, mtime and ctime of the file as text: where it is another one, another file stands there, or the content
/// may have changed. Empty where nothing stands there.
std::string file_stamp(const std::string& path);

/// Whether anything stands there; what cannot be looked at does not.
bool exists(const std::string& path);

/// Removes `path`; a file that is not there is fine.
void remove_file(const std::string& path);

/// Bytes that an unprivileged user may still write in the file system of `path`.
std::uint64_t free_bytes(const std::string& path);

}  // namespace nightreel::base
