#include "app/common/outputs.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <iostream>

#include "app/common/command_line.h"
#include "nightreel/base/error.h"
#include "nightreel/base/file.h"

namespace nightreel::app {
namespace {

using base::Error;
using base::ErrorKind;

bool ends_with(std::string text, const std::string& ending) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text.size() > ending.size() && text.compare(text.size() - ending.size(), ending.size(), ending) == 0;
}

void check_folder(const std::string& what, const std::string& folder) {
  struct stat info {};
  if (::stat(folder.c_str(), &info) != 0) {
    throw Error(ErrorKind::usage, what + ": the folder " + base::printable(folder) + ": " + std::strerror(errno) +
                                      (errno == ENOENT ? "; make it first" : ""));
  }
  if (!S_ISDIR(info.st_mode)) throw Error(ErrorKind::usage, what + ": " + base::printable(folder) + " is no folder");
  if (::access(folder.c_str(), W_OK | X_OK) == 0) return;
  throw Error(ErrorKind::storage,
              what + ": the folder " + base::printable(folder) + " cannot be written to: " + std::strerror(errno));
}

}  // namespace

void check_output_file(const std::string& flag, const std::string& path, const std::string& ending) {
  const std::string what = flag + " " + base::printable(path);
  struct stat info {};
  const bool exists = ::stat(path.c_str(), &info) == 0;
  if (path.empty() || path.back() == '/' || (exists && S_ISDIR(info.st_mode))) {
    throw Error(ErrorKind::usage,
                what + ": a folder; name a file" + (ending.empty() ? "" : " that ends with " + ending));
  }
  if (exists && !S_ISREG(info.st_mode)) {
    throw Error(ErrorKind::usage, what + ": no regular file, and it would be replaced; name a file");
  }
  if (!ending.empty() && !ends_with(path, ending)) {
    throw Error(ErrorKind::usage, what + ": must end with " + ending + ", the kind of file that is made");
  }
  check_folder(what, base::parent_folder(path));
}

void open_standard_descriptors() {
  for (const int descriptor : {0, 1, 2}) {
    if (::fcntl(descriptor, F_GETFD) >= 0 || errno != EBADF) continue;
    ::open("/dev/null", O_RDWR);  // the lowest number that is free, which is this one; it stays open
  }
}

void outlive_readers() {
  ::signal(SIGPIPE, SIG_IGN);
}

int written_out(int code) {
  errno = 0;
  std::cout.flush();
  const bool lost = std::fflush(stdout) != 0 || std::ferror(stdout) != 0 || !std::cout;
  const int error = errno;
  std::clearerr(stdout);
  std::cout.clear();
  if (!lost || error == EPIPE) return code;                                            // who went away wanted no more
  const std::string why = error == 0 ? "" : std::string(": ") + std::strerror(error);  // an earlier write's is lost
  const int lost_code = show(Error(ErrorKind::storage, "standard output cannot be written" + why));
  const bool worse =
      code == base::traits(ErrorKind::internal).exit_code || code == base::traits(ErrorKind::usage).exit_code;
  return worse ? code : lost_code;
}

}  // namespace nightreel::app
