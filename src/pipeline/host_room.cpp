// /proc/meminfo, and the memory controller of cgroups, versions 2 and 1 (kernel documentation,
// admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst).
#include <sys/resource.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "nightreel/pipeline/gpu_memory.h"

namespace nightreel::pipeline {
namespace {

namespace fs = std::filesystem;

/// The number that a file begins with; nothing where there is none ("max").
std::optional<std::uint64_t> number_in(const fs::path& file) {
  std::ifstream in(file);
  std::uint64_t number = 0;
  return in >> number ? std::optional(number) : std::nullopt;
}

/// The numbers of the lines "NAME 17 …", added up.
std::optional<std::uint64_t> named(const fs::path& file, const std::vector<std::string>& names) {
  std::ifstream in(file);
  std::optional<std::uint64_t> sum;
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string name;
    std::uint64_t number = 0;
    if (words >> name >> number && std::find(names.begin(), names.end(), name) != names.end()) {
      sum = sum.value_or(0) + number;
    }
  }
  return sum;
}

/// What may still be taken in one cgroup: files that are cached make room.
std::optional<std::uint64_t> room_in(const fs::path& group, const char* limit_name, const char* usage_name) {
  const auto limit = number_in(group / limit_name);
  const auto usage = number_in(group / usage_name);
  if (!limit || !usage) return std::nullopt;
  const std::uint64_t cached = named(group / "memory.stat", {"inactive_file", "active_file"}).value_or(0);
  const std::uint64_t held = *usage - std::min(*usage, cached);
  return *limit - std::min(*limit, held);
}

/// The least of a cgroup and all above it, up to `top`.
std::optional<std::uint64_t> least_room(const fs::path& top, const std::string& path, const char* limit_name,
                                        const char* usage_name) {
  std::optional<std::uint64_t> least = room_in(top, limit_name, usage_name);
  fs::path group = top;
  for (const fs::path& part : fs::path(path).relative_path()) {
    group /= part;
    const auto room = room_in(group, limit_name, usage_name);
    if (room) least = std::min(least.value_or(*room), *room);
  }
  return least;
}

/// The least limit of a cgroup and all above it, up to `top`.
std::optional<std::uint64_t> least_limit(const fs::path& top, const std::string& path, const char* limit_name) {
  std::optional<std::uint64_t> least = number_in(top / limit_name);
  fs::path group = top;
  for (const fs::path& part : fs::path(path).relative_path()) {
    group /= part;
    const auto limit = number_in(group / limit_name);
    if (limit) least = std::min(least.value_or(*limit), *limit);
  }
  return least;
}

/// `of_two` and `of_one` tell the figure of a cgroup of version 2 or 1, by its path below the controller's folder.
template <typename OfTwo, typename OfOne>
std::optional<std::uint64_t> least_in_cgroups(const fs::path& root, OfTwo of_two, OfOne of_one) {
  std::ifstream in(root / "proc/self/cgroup");
  std::optional<std::uint64_t> least;
  for (std::string line; std::getline(in, line);) {  // NUMBER:CONTROLLERS:PATH
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string path = line.substr(second + 1);
    std::optional<std::uint64_t> figure;
    if (controllers.empty()) figure = of_two(root / "sys/fs/cgroup", path);
    if (controllers == "memory") figure = of_one(root / "sys/fs/cgroup/memory", path);
    if (figure) least = std::min(least.value_or(*figure), *figure);
  }
  return least;
}

std::optional<std::uint64_t> room_in_cgroups(const fs::path& root) {
  return least_in_cgroups(
      root,
      [](const fs::path& top, const std::string& path) {
        return least_room(top, path, "memory.max", "memory.current");
      },
      [](const fs::path& top, const std::string& path) {
        return least_room(top, path, "memory.limit_in_bytes", "memory.usage_in_bytes");
      });
}

std::optional<std::uint64_t> limit_of_cgroups(const fs::path& root) {
  return least_in_cgroups(
      root, [](const fs::path& top, const std::string& path) { return least_limit(top, path, "memory.max"); },
      [](const fs::path& top, const std::string& path) { return least_limit(top, path, "memory.limit_in_bytes"); });
}

}  // namespace

std::uint64_t host_memory_limit(const std::string& root) {
  const fs::path top = root.empty() ? "/" : root;
  std::uint64_t least = 0;
  const auto take = [&](const std::optional<std::uint64_t>& bytes) {
    if (bytes && *bytes > 0 && (least == 0 || *bytes < least)) least = *bytes;
  };
  auto total = named(top / "proc/meminfo", {"MemTotal:"});
  if (total) *total *= 1024;
  take(total);
  take(limit_of_cgroups(top));
  rlimit limit{};
  if (::getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) take(limit.rlim_cur);
  return least;
}

std::uint64_t host_memory_for(int renderers, const std::string& root) {
  const fs::path top = root.empty() ? "/" : root;
  auto available = named(top / "proc/meminfo", {"MemAvailable:"});
  if (available) *available *= 1024;
  if (const auto room = room_in_cgroups(top)) available = std::min(available.value_or(*room), *room);
  if (!available) return 0;
  return std::max<std::uint64_t>(1, *available / 10 * 9 / static_cast<std::uint64_t>(std::max(1, renderers)));
}

}  // namespace nightreel::pipeline
