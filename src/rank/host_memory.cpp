#include "nightreel/rank/host_memory.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <string_view>

namespace nightreel::rank {
namespace {

// What C++, LibTorch, glibc and the loader say.
constexpr std::array<std::string_view, 6> kWords{"std::bad_alloc",
                                                 "DefaultCPUAllocator: can't allocate memory",
                                                 "annot allocate memory",
                                                 "not enough memory: you tried to allocate",
                                                 "failed to map segment from shared object",
                                                 "Thread creation failed: Resource temporarily unavailable"};
constexpr std::array<std::string_view, 3> kCrashes{"signal 6 ", "signal 7 ", "signal 11 "};

bool begins(const std::string& text, std::string_view head) {
  return text.compare(0, head.size(), head) == 0;
}

std::uint64_t oom_kills() {
  std::ifstream in("/proc/vmstat");
  std::string name;
  for (std::uint64_t value = 0; in >> name >> value;) {
    if (name == "oom_kill") return value;
  }
  return 0;
}

std::uint64_t address_space_of(pid_t process) {
  std::ifstream in("/proc/" + std::to_string(process) + "/statm");
  std::uint64_t pages = 0;
  return in >> pages ? pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)) : 0;
}

// A child has it from this process.
std::uint64_t address_space_limit() {
  rlimit limit{};
  return ::getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY ? limit.rlim_cur : 0;
}

std::string limit_text(std::uint64_t limit, std::uint64_t taken) {
  return "ulimit -v lets it have " + std::to_string(limit >> 20U) + " MiB, and it had taken " +
         std::to_string(taken >> 20U) + " MiB";
}

}  // namespace

std::string why_host_memory(const std::string& how, const std::string& words, const HostMemorySigns& before,
                            const HostMemorySigns& now, std::uint64_t limit) {
  for (const std::string_view said : kWords) {
    if (words.find(said) != std::string::npos) return "its log says that it got no more";
  }
  if (begins(how, "signal 9 ") && now.oom_kills > before.oom_kills) return "the kernel's OOM killer ended it";
  const bool crashed =
      std::any_of(kCrashes.begin(), kCrashes.end(), [&](std::string_view head) { return begins(how, head); });
  // Libraries that get no more for a thread's stack or their code do not say so: they crash.
  if (crashed && limit > 0 && now.address_space >= limit / 4 * 3) {
    return limit_text(limit, now.address_space);
  }
  return "";
}

void HostMemoryWatch::begin(pid_t process) {
  process_ = process;
  last_ = before_ = {oom_kills(), 0};
  since_look_ = base::Stopwatch();
}

void HostMemoryWatch::look() {
  // Until it has come up its address space grows fast, and reading it costs microseconds.
  last_.address_space = std::max(last_.address_space, address_space_of(process_));
  if (since_look_.seconds() < 1) return;
  since_look_ = base::Stopwatch();
  before_ = last_;
  last_.oom_kills = oom_kills();
}

std::string HostMemoryWatch::at_limit() const {
  const std::uint64_t limit = address_space_limit();
  return limit > 0 && last_.address_space >= limit / 10 * 9 ? limit_text(limit, last_.address_space) : "";
}

std::string HostMemoryWatch::verdict(const std::string& how, const std::string& words) const {
  return why_host_memory(how, words, before_, {oom_kills(), last_.address_space}, address_space_limit());
}

}  // namespace nightreel::rank
