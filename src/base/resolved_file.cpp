#include "nightreel/base/resolved_file.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "nightreel/base/error.h"

namespace nightreel::base {
namespace {

namespace fs = std::filesystem;

constexpr int kRead = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;

Fd open_whole(const Fd& root, const std::string& relative) {
  open_how how{};
  how.flags = kRead;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  return Fd(static_cast<int>(::syscall(SYS_openat2, root.get(), relative.c_str(), &how, sizeof how)));
}

// errno as the call that failed has set it. "." and ".." lead nowhere new, so they are refused like links.
Fd open_step_by_step(const Fd& root, const fs::path& relative) {
  Fd folder(::openat(root.get(), ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  for (auto part = relative.begin(); folder && part != relative.end();) {
    if (part->empty() || *part == "." || *part == "..") {
      errno = ELOOP;
      return Fd();
    }
    const std::string name = (part++)->string();
    const bool last = part == relative.end();
    folder = Fd(::openat(folder.get(), name.c_str(), (last ? kRead : O_PATH | O_DIRECTORY | O_CLOEXEC) | O_NOFOLLOW));
  }
  return folder;
}

// Some containers' filters answer a call that they do not know with EPERM. EAGAIN: a folder was renamed meanwhile.
bool cannot_say(int error) {
  return error == ENOSYS || error == EPERM || error == EAGAIN;
}

}  // namespace

Fd open_beneath(const std::string& root, const std::string& relative) {
  const std::string path = (fs::path(root) / relative).string();
  const Fd folder(::open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!folder) throw_errno("cannot open", root);
  Fd file = open_whole(folder, relative);
  if (!file && cannot_say(errno)) file = open_step_by_step(folder, relative);
  if (!file && errno == ELOOP) throw Error(ErrorKind::storage, path + ": a symbolic link stands in its way");
  if (!file) throw_errno("cannot open", path);
  check_regular(file, path);
  return file;
}

Fd open_resolved(const std::string& path) {
  return path.starts_with('/') ? open_beneath("/", path.substr(1)) : open_beneath(".", path);
}

}  // namespace nightreel::base
