#include "nightreel/tensorfile/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "nightreel/base/error.h"
#include "nightreel/base/file.h"
#include "nightreel/base/links.h"

namespace nightreel::tensorfile {

void refuse_file(const std::string& path, const std::string& why) {
  throw base::Error(base::ErrorKind::model, base::printable(path, 4096) + ": " + why);
}

namespace {

base::Fd opened(const std::string& path) {
  base::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (fd) return fd;
  const int reason = errno;
  const std::string dangling = base::dangling_link(path);
  refuse_file(path, dangling.empty() ? std::string("cannot open: ") + std::strerror(reason) : dangling);
}

bool is_lfs_pointer(const base::Fd& fd) {
  constexpr std::string_view kPointer = "version https://git-lfs";
  std::array<char, kPointer.size()> first{};
  const ssize_t got = ::pread(fd.get(), first.data(), first.size(), 0);
  return got == static_cast<ssize_t>(kPointer.size()) && std::string_view(first.data(), first.size()) == kPointer;
}

/// The file's size; refuses what is none that could be a `what`.
std::uint64_t checked_size(const base::Fd& fd, const std::string& path, std::uint64_t least, const std::string& what) {
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) refuse_file(path, std::string("cannot stat: ") + std::strerror(errno));
  if (!S_ISREG(status.st_mode)) refuse_file(path, "not a regular file");
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size < least) refuse_file(path, "too short to be a " + what + " (" + std::to_string(size) + " bytes)");
  if (is_lfs_pointer(fd)) refuse_file(path, "a Git LFS pointer; fetch the file: git lfs pull");
  return size;
}

}  // namespace

OpenedFile open_regular(const std::string& path, std::uint64_t least, const std::string& what) {
  base::Fd fd = opened(path);
  const std::uint64_t bytes = checked_size(fd, path, least, what);
  return {std::move(fd), bytes};
}

MappedFile::MappedFile(const std::string& path, std::uint64_t least, const std::string& what)
    : MappedFile(opened(path), path, least, what) {}

MappedFile::MappedFile(const base::Fd& fd, const std::string& path, std::uint64_t least, const std::string& what)
    : path_(path), size_(checked_size(fd, path, least, what)) {
  address_ = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, fd.get(), 0);
  if (address_ == MAP_FAILED) refuse_file(path, std::string("cannot map: ") + std::strerror(errno));
}

MappedFile::~MappedFile() {
  if (address_ != nullptr) ::munmap(address_, size_);
}

void MappedFile::release(std::uint64_t offset, std::uint64_t bytes) const {
  const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  const std::uint64_t begin = (offset + page - 1) / page * page;
  const std::uint64_t end = (offset + bytes) / page * page;
  if (end > begin) ::madvise(at(begin), end - begin, MADV_DONTNEED);
}

}  // namespace nightreel::tensorfile
