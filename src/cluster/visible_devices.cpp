#include <algorithm>
#include <set>

#include "nightreel/cluster/gpu.h"

namespace nightreel::cluster {
namespace {

// What a GPU can be used through.
std::vector<GpuDevice> usable(const Gpu& gpu) {
  return gpu.mig_mode ? gpu.slices : std::vector{gpu.device};
}

std::vector<GpuDevice> by_index(const std::vector<Gpu>& gpus, const std::string& entry) {
  if (entry.size() > 6 || entry.find_first_not_of("0123456789") != std::string::npos) return {};
  const auto index = static_cast<std::size_t>(std::stoul(entry));
  return index < gpus.size() ? usable(gpus[index]) : std::vector<GpuDevice>{};
}

std::vector<GpuDevice> by_uuid(const std::vector<Gpu>& gpus, const std::string& entry) {
  std::vector<std::vector<GpuDevice>> found;
  for (const Gpu& gpu : gpus) {
    if (gpu.device.uuid.rfind(entry, 0) == 0) found.push_back(usable(gpu));
    for (const GpuDevice& slice : gpu.slices) {
      if (slice.uuid.rfind(entry, 0) == 0) found.push_back({slice});
    }
  }
  return found.size() == 1 ? found[0] : std::vector<GpuDevice>{};
}

std::string trimmed(const std::string& text) {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

std::vector<GpuDevice> named_by(const std::vector<Gpu>& gpus, const std::string& entry) {
  if (entry.empty()) return {};
  const bool uuid = entry.rfind("GPU-", 0) == 0 || entry.rfind("MIG-", 0) == 0;
  return uuid ? by_uuid(gpus, entry) : by_index(gpus, entry);
}

std::vector<std::string> entries(const std::string& list) {
  std::vector<std::string> out;
  for (std::size_t at = 0; at <= list.size();) {
    const std::size_t comma = std::min(list.find(',', at), list.size());
    out.push_back(trimmed(list.substr(at, comma - at)));
    at = comma + 1;
  }
  return out;
}

}  // namespace

std::vector<GpuDevice> visible_devices(const std::vector<Gpu>& gpus, const std::optional<std::string>& cuda_visible) {
  std::vector<GpuDevice> visible;
  if (!cuda_visible) {
    for (const Gpu& gpu : gpus) {
      for (const GpuDevice& device : usable(gpu)) visible.push_back(device);
    }
    return visible;
  }
  std::set<std::string> seen;
  for (const std::string& entry : entries(*cuda_visible)) {
    const std::vector<GpuDevice> named = named_by(gpus, entry);
    if (named.empty()) break;
    for (const GpuDevice& device : named) {
      if (!seen.insert(device.uuid).second) return {};
      visible.push_back(device);
    }
  }
  return visible;
}

}  // namespace nightreel::cluster
