// The counting stand-in: memory is addresses, kernels are counted by name, copies by direction, waits of the host.
//
//   STAND_IN_HOST_BYTES   of the host's memory, in place of what this one has; 2000000000000
//   STAND_IN_REPORT       a path: the report of a process is written to PATH.PID.json, now and then and when it ends
#include "stand_in/counting.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <unordered_map>

namespace nightreel::stand_in {
namespace {

struct Counts {
  std::mutex mutex;
  std::map<std::string, std::pair<long, std::uint64_t>> calls;
  std::unordered_map<std::string, long> kernels;
  long all_kernels = 0;
  std::uint64_t operator_bytes = 0;
};

Counts& counts() {
  static auto* made = new Counts;
  return *made;
}

}  // namespace

/// Who is killed at its end has told of most by then.
constexpr long kKernelsAReport = 1000;

nlohmann::json report() {
  const MemoryUse use = memory_use();
  const std::lock_guard lock(counts().mutex);
  return {{"calls", counts().calls},
          {"kernels", counts().kernels},
          {"operator_bytes", counts().operator_bytes},
          {"memory",
           {{"card", use.card},
            {"context", use.context},
            {"used", use.used},
            {"most", use.most},
            {"refused", use.failed}}}};
}

void write_report() {
  static std::mutex one_at_a_time;
  const char* path = std::getenv("STAND_IN_REPORT");
  if (path == nullptr) return;
  const std::lock_guard lock(one_at_a_time);
  const std::string name = path + ("." + std::to_string(::getpid()) + ".json");
  std::ofstream(name + ".part") << report().dump() << '\n';
  ::rename((name + ".part").c_str(), name.c_str());
}

bool memory_is_there() {
  return false;
}

cudaError_t launch(const Launch& launch) {
  count_kernel(launch.kernel);
  return cudaSuccess;
}

void count(const char* what, std::uint64_t bytes) {
  const std::lock_guard lock(counts().mutex);
  auto& call = counts().calls[what];
  ++call.first;
  call.second += bytes;
}

void count_kernel(const std::string& name) {
  long all = 0;
  {
    const std::lock_guard lock(counts().mutex);
    ++counts().kernels[name];
    all = ++counts().all_kernels;
  }
  if (all % kKernelsAReport == 0) write_report();
}

long kernels_counted() {
  const std::lock_guard lock(counts().mutex);
  return counts().all_kernels;
}

void count_bytes_of_operators(std::uint64_t bytes) {
  const std::lock_guard lock(counts().mutex);
  counts().operator_bytes += bytes;
}

}  // namespace nightreel::stand_in

using namespace nightreel::stand_in;

STAND_IN_API void stand_in_reset() {
  memory_use(/*reset_most=*/true);
  const std::lock_guard lock(counts().mutex);
  counts().calls.clear();
  counts().kernels.clear();
  counts().all_kernels = 0;
  counts().operator_bytes = 0;
}

STAND_IN_API const char* stand_in_report() {
  static std::string text;
  text = report().dump();
  return text.c_str();
}

__attribute__((destructor)) static void report_at_the_end() {
  write_report();
}

// The host of the GPU, whose memory plans are held against, is another than this one.
STAND_IN_API std::FILE* fopen64(const char* path, const char* mode) {
  using Real = std::FILE* (*)(const char*, const char*);
  static const auto real = reinterpret_cast<Real>(::dlsym(RTLD_NEXT, "fopen64"));
  const std::string name = path;
  if (name != "/proc/meminfo" && name != "/proc/self/cgroup") return real(path, mode);
  constexpr std::uint64_t kHost = 2000000000000;
  const std::string text =
      name == "/proc/self/cgroup"
          ? ""
          : "MemAvailable: " + std::to_string(number("STAND_IN_HOST_BYTES", kHost) / 1024) + " kB\n";
  const int file = ::memfd_create("host", MFD_CLOEXEC);
  if (::write(file, text.data(), text.size()) < 0) return nullptr;
  ::lseek(file, 0, SEEK_SET);
  return ::fdopen(file, mode);
}

// Host memory for the weights of published sizes is addresses too: none of it is counted against the machine's, and of
// a sparse checkpoint all but the beginning, which has its header, is the one page of zeros.
STAND_IN_API void* mmap(void* at, std::size_t bytes, int protection, int flags, int file, off_t offset) noexcept {
  using Real = void* (*)(void*, std::size_t, int, int, int, off_t);
  static const auto real = reinterpret_cast<Real>(::dlsym(RTLD_NEXT, "mmap"));
  constexpr std::size_t kLarge = std::size_t{64} << 20U;
  constexpr std::size_t kHeader = std::size_t{4} << 20U;
  if (bytes < kLarge || at != nullptr) return real(at, bytes, protection, flags, file, offset);
  if ((flags & MAP_ANONYMOUS) != 0) return real(at, bytes, protection, flags | MAP_NORESERVE, file, offset);
  struct stat status {};
  const bool sparse = ::fstat(file, &status) == 0 && status.st_blocks * 512 < status.st_size / 8;
  if (!sparse || offset != 0) return real(at, bytes, protection, flags, file, offset);
  void* zeros = real(nullptr, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (zeros == MAP_FAILED) return zeros;
  return real(zeros, kHeader, protection, flags | MAP_FIXED, file, 0);
}
