#include "nightreel/rank/output_folder.h"

#include <filesystem>

#include "nightreel/base/file.h"
#include "nightreel/base/random.h"

namespace nightreel::rank {
namespace {

constexpr std::size_t kProbeBytes = 64U << 10U;

}  // namespace

void OutputFolder::make() const {
  for (const char* folder : {"", "/videos", "/archive", "/checkpoints", "/runs", "/logs"}) {
    base::make_folders(root_ + folder);
  }
}

void OutputFolder::check_writable() const {
  const std::string path = root_ + "/.nightreel-" + base::random_hex(8);
  base::replace_file(path, std::string(kProbeBytes, 'x'));
  base::remove_file(path);
}

std::size_t OutputFolder::sweep(std::chrono::hours age) const {
  const auto limit = std::filesystem::file_time_type::clock::now() - age;
  std::size_t swept = 0;
  std::error_code error;
  for (const char* folder : {"/videos", "/archive", "/checkpoints"}) {
    for (const auto& entry : std::filesystem::directory_iterator(root_ + folder, error)) {
      const std::string name = entry.path().filename().string();
      if (name.front() != '.' || entry.path().extension() != ".part") continue;
      if (entry.last_write_time(error) > limit || error) continue;
      swept += std::filesystem::remove(entry.path(), error) ? 1 : 0;
    }
  }
  return swept;
}

OutputSet OutputFolder::names(const std::string& prefix, const std::string& id, const std::string& suffix,
                              bool archive) const {
  const std::string videos = root_ + "/videos/" + prefix + id;
  return {archive ? root_ + "/archive/" + prefix + id + ".h5" + suffix : "", videos + ".jpg" + suffix,
          videos + ".json" + suffix, videos + ".mp4" + suffix};
}

OutputSet OutputFolder::final_names(const std::string& id, bool archive) const {
  return names("", id, "", archive);
}

OutputSet OutputFolder::temporary_names(const std::string& id, std::uint64_t token, bool archive) const {
  return names(".", id, "." + std::to_string(token) + ".part", archive);
}

}  // namespace nightreel::rank
