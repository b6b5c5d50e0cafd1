#include "nightreel/tensorfile/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "nightreel/base/error.h"
#include "nightreel/base/file.h"
#include "nightreel/base/links.h"

namespace nightreel::model {

void refuse_file(const std::string& path, const std::string& why) {
  throw base::Error(base::ErrorKind::model, path + ": " + why);
}

namespace {

base::Fd opened(const std::string& path) {
  base::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (fd) return fd;
  const int reason = errno;
  const std::string dangling = base::dangling_link(path);
  refuse_file(path, dangling.empty() ? std::string("cannot open: ") + std::strerror(reason) : dangling);
}

}  // namespace

MappedFile::MappedFile(const std::string& path, std::uint64_t least, const std::string& what)
    : MappedFile(opened(path), path, least, what) {}

MappedFile::MappedFile(const base::Fd& fd, const std::string& path, std::uint64_t least, const std::string& what) {
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) refuse_file(path, std::string("cannot stat: ") + std::strerror(errno));
  if (!S_ISREG(status.st_mode)) refuse_file(path, "not a regular file");
  size_ = static_cast<std::uint64_t>(status.st_size);
  if (size_ < least) refuse_file(path, "too short to be a " + what + " (" + std::to_string(size_) + " bytes)");
  address_ = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, fd.get(), 0);
  if (address_ == MAP_FAILED) refuse_file(path, std::string("cannot map: ") + std::strerror(errno));
  if (bytes().substr(0, 23) == "version https://git-lfs") {
    ::munmap(address_, size_);
    refuse_file(path, "a Git LFS pointer; fetch the file: git lfs pull");
  }
}

MappedFile::~MappedFile() {
  ::munmap(address_, size_);
}

void MappedFile::release(std::uint64_t offset, std::uint64_t bytes) const {
  const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  const std::uint64_t begin = (offset + page - 1) / page * page;
  const std::uint64_t end = (offset + bytes) / page * page;
  if (end > begin) ::madvise(at(begin), end - begin, MADV_DONTNEED);
}

}  // namespace nightreel::model
