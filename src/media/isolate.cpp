#include "media/isolate.h"

#include <poll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>

#include "nightreel/base/clock.h"
#include "nightreel/base/error.h"
#include "nightreel/base/process.h"

namespace nightreel::media {
namespace {

using base::Error;
using base::ErrorKind;

constexpr int kNotFound = 127;  // the loader's code, and a shell's
constexpr std::chrono::milliseconds kReap{10'000};

[[noreturn]] void fail_apart(const std::string& path, const std::string& what) {
  throw Error(ErrorKind::usage, path + ": " + what);
}

std::size_t size_of_file(const base::Fd& file, const std::string& path) {
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) base::throw_errno("cannot stat", path);
  const auto size = static_cast<std::size_t>(status.st_size);
  if (size > hdf5::kMaxFile) fail_apart(path, "larger than " + std::to_string(hdf5::kMaxFile) + " bytes");
  return size;
}

// That the kernel allows no filter is said once, by the first reader.
std::atomic<bool>& said_unconfined() {
  static std::atomic<bool> said{false};
  return said;
}

base::Child start(const base::Fd& file, const hdf5::Words& words) {
  base::ChildOptions options;
  options.argv = {base::companion("nightreel-hdf5"), std::to_string(::getpid()), said_unconfined() ? "quiet" : "say"};
  options.argv.insert(options.argv.end(), words.begin(), words.end());
  options.environment.take = base::EnvironmentRule::Take::none;
  options.pipe_stdin = false;
  options.inherit_fd = file.get();
  return base::Child(options);
}

// All that it says, within the time and the length that a sound reader keeps to. The system limits its processor time;
// the time here ends one that sleeps.
std::string hear(const base::Child& reader, const std::string& path, std::size_t file_bytes) {
  const base::Stopwatch watch;
  const double most_s = 10 + 4.0 * hdf5::cpu_seconds(file_bytes);
  std::string answer;
  std::array<char, 1U << 16U> buffer{};
  for (;;) {
    pollfd ready{reader.stdout_fd(), POLLIN, 0};
    const int left_ms = static_cast<int>(1000 * (most_s - watch.seconds()));
    if (left_ms <= 0) fail_apart(path, "is damaged: reading it does not end");
    if (::poll(&ready, 1, left_ms) <= 0) continue;
    const ssize_t n = ::read(reader.stdout_fd(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) base::throw_errno("cannot read the answer about", path);
    if (n == 0) return answer;
    answer.append(buffer.data(), static_cast<std::size_t>(n));
    if (answer.size() > hdf5::most_answer(file_bytes)) fail_apart(path, "is damaged: reading it does not end");
  }
}

void check_ended(base::Child& reader, const std::string& path) {
  const auto how = reader.wait(kReap);
  if (how && reader.code() == 0) return;
  if (how && reader.code() == kNotFound) {
    throw Error(ErrorKind::environment,
                "nightreel-hdf5 does not start: its libraries are not found, and it gets no LD_LIBRARY_PATH; install "
                "libhdf5 where the system's loader looks");
  }
  fail_apart(path, "is damaged: reading it failed without a reason");
}

}  // namespace

hdf5::Content read_apart(const base::Fd& file, const std::string& path, const hdf5::Words& words) {
  const std::size_t bytes = size_of_file(file, path);
  base::Child reader = start(file, words);
  const std::string answer = hear(reader, path, bytes);
  check_ended(reader, path);
  hdf5::Content content;
  try {
    content = hdf5::decode(answer);
  } catch (const Error& e) {
    fail_apart(path, e.what());
  }
  if (!content.confined) said_unconfined() = true;
  if (const auto* whole = content.find(hdf5::kWholeFile)) fail_apart(path, whole->problem);
  return content;
}

hdf5::Content read_apart(std::string_view bytes, const std::string& path, const hdf5::Words& words) {
  const base::Fd memory(::memfd_create("nightreel-hdf5", MFD_CLOEXEC));
  if (!memory) base::throw_errno("cannot make memory for", path);
  for (std::size_t at = 0; at < bytes.size();) {
    const ssize_t n = ::write(memory.get(), bytes.data() + at, bytes.size() - at);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) base::throw_errno("cannot copy", path);
    at += static_cast<std::size_t>(n);
  }
  return read_apart(memory, path, words);
}

}  // namespace nightreel::media
