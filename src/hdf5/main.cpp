// nightreel-hdf5: reads one HDF5 file for a parent that does not trust it. Started by media::read_apart, by nobody
// else.
//
//   nightreel-hdf5 PARENT say|quiet WORD...     PARENT: its process id; WORDs: hdf5/content.h
//
// The file is descriptor 3, the answer goes to standard output. It has no environment and no other descriptor; before
// the first byte of the file it gives up what it may (hdf5/confine.h). Exit code 0: the answer is whole.
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <string>
#include <string_view>

#include "hdf5/confine.h"
#include "nightreel/base/error.h"
#include "nightreel/hdf5/content.h"

namespace nightreel::hdf5 {
namespace {

constexpr int kFile = 3;

bool write_all(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(STDOUT_FILENO, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

void end_with_parent(const std::string& parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (std::to_string(::getppid()) != parent) ::_exit(1);
}

Content content_of(std::string_view file, const Words& words) {
  try {
    return read_content(file, words);
  } catch (const base::Error& e) {
    constexpr std::size_t kName = sizeof "file: " - 1;
    Content content;
    content.entries.push_back({kWholeFile, std::string(e.what()).substr(kName), false, "", 0, Type::float32, {}});
    return content;
  }
}

// A library that complains, or dies, does so in silence: the parent says what is to be said.
bool confine(std::size_t bytes, bool say) {
  limit_resources(bytes);
  const bool confined = forbid_system_calls();
  if (!confined && say) {
    constexpr std::string_view kSaid =
        "nightreel-hdf5: this kernel allows no filter of system calls: going on without\n";
    (void)!::write(STDERR_FILENO, kSaid.data(), kSaid.size());
  }
  ::close(STDERR_FILENO);
  return confined;
}

int answer(bool say, const Words& words) {
  struct stat status {};
  if (::fstat(kFile, &status) != 0) return 1;
  const auto bytes = static_cast<std::size_t>(status.st_size);
  const bool confined = confine(bytes, say);
  void* mapped = bytes == 0 ? nullptr : ::mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, kFile, 0);
  if (mapped == MAP_FAILED) return 1;
  Content content = content_of({static_cast<const char*>(mapped), bytes}, words);
  content.confined = confined;
  bool written = write_all(encode_head(content));
  for (const Entry& entry : content.entries) written = written && write_all(entry.bytes);
  return written ? 0 : 1;
}

}  // namespace
}  // namespace nightreel::hdf5

// It ends without a word to anybody, so that nothing that the file has left in memory is cleaned up.
int main(int argc, char** argv) {
  if (argc < 3) return 2;
  using namespace nightreel::hdf5;
  end_with_parent(argv[1]);
  try {
    ::_exit(answer(std::string_view(argv[2]) == "say", Words(argv + 3, argv + argc)));
  } catch (...) {
    ::_exit(1);
  }
}
