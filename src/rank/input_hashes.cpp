#include "nightreel/rank/input_hashes.h"

#include <filesystem>
#include <set>

#include "nightreel/base/file.h"
#include "nightreel/base/hash.h"

namespace nightreel::rank {

std::string InputHashes::of_file(const std::string& path) {
  const std::string stamp = base::file_stamp(path);
  Known& known = known_[path];
  if (!stamp.empty() && known.stamp == stamp) return known.hash;
  const std::string hash = base::xxh128_file(path);
  // What changed while it was read is read again the next time.
  known = {base::file_stamp(path) == stamp ? stamp : std::string(), hash};
  return hash;
}

std::string InputHashes::of(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) return of_file(path);
  std::set<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(path, error)) {
    if (entry.is_regular_file(error)) files.insert(entry.path().string());
  }
  std::string all;
  for (const auto& file : files) all += std::filesystem::path(file).filename().string() + '\n' + of_file(file) + '\n';
  return base::xxh128_hex(all);
}

Inputs InputHashes::of(const settings::Settings& settings) {
  Inputs out;
  for (const auto& path : input_files(settings)) out[path] = of(path);
  return out;
}

std::vector<std::string> input_files(const settings::Settings& settings) {
  std::vector<std::string> out;
  for (const auto& path : {settings.image, settings.last_image}) {
    if (!path.empty()) out.push_back(path);
  }
  for (const auto& lora : settings.loras) out.push_back(lora.path);
  return out;
}

Inputs unchanged(const Inputs& before, const Inputs& after) {
  Inputs out;
  for (const auto& [path, hash] : before) {
    const auto now = after.find(path);
    out[path] = now != after.end() && now->second == hash ? hash : std::string();
  }
  return out;
}

}  // namespace nightreel::rank
