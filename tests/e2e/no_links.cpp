// Preloaded: what lies below $NO_LINKS answers as mounts of object stores do (gcsfuse, rclone, s3fs): link(2) is not
// implemented, renameat2(2) knows no flag, rename(2) works.
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace {

bool below_mount(const char* path) {
  const char* root = std::getenv("NO_LINKS");
  return root != nullptr && std::strncmp(path, root, std::strlen(root)) == 0;
}

}  // namespace

extern "C" int link(const char* from, const char* to) noexcept {
  if (!below_mount(to)) return static_cast<int>(::syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0));
  errno = ENOSYS;
  return -1;
}

extern "C" int renameat2(int from_folder, const char* from, int to_folder, const char* to, unsigned flags) noexcept {
  if (!below_mount(to) || flags == 0) {
    return static_cast<int>(::syscall(SYS_renameat2, from_folder, from, to_folder, to, flags));
  }
  errno = EINVAL;
  return -1;
}
