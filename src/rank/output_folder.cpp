#include "nightreel/rank/output_folder.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <string_view>

#include "nightreel/base/file.h"
#include "nightreel/base/random.h"
#include "nightreel/queue/token.h"

namespace nightreel::rank {
namespace {

namespace fs = std::filesystem;

bool ends_with_part(std::string_view name) {
  return name.size() > 5 && name.substr(name.size() - 5) == ".part";
}

// The token in ".ID.mp4.7-ab12.part", or in "..ID.mp4.7-ab12.part.0123.part", the beginning of such a file; nothing in
// other names. An id may contain dots: what follows it must be exactly this.
std::optional<queue::Token> token_in(std::string_view name, const std::string& id) {
  if (!ends_with_part(name) || name.front() != '.') return std::nullopt;
  name.remove_prefix(name.substr(0, 2) == ".." ? 2 : 1);
  for (const char* suffix : {".mp4.", ".json.", ".jpg.", ".h5."}) {
    const std::string head = id + suffix;
    if (name.substr(0, head.size()) != head) continue;
    name.remove_prefix(head.size());
    const std::size_t end = std::min(name.find('.'), name.size());
    if (name.substr(end, 5) == ".part") return queue::parse_token(name.substr(0, end));
  }
  return std::nullopt;
}

// ".ID.h5.0123.part": a state that somebody has begun to write.
bool half_a_state(std::string_view name, const std::string& id) {
  const std::string head = "." + id + ".h5.";
  if (!ends_with_part(name) || name.substr(0, head.size()) != head) return false;
  return name.substr(head.size()).find('.') == name.size() - head.size() - 5;
}

template <typename Wanted>
void remove_where(const std::string& folder, Wanted wanted) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (wanted(entry.path().filename().string())) base::remove_file(entry.path().string());
  }
}

}  // namespace

void OutputFolder::make() const {
  for (const char* folder : {"", "/videos", "/archive", "/checkpoints", "/runs", "/logs"}) {
    base::make_folders(root_ + folder);
  }
}

// Under a name that a sweep takes, should this process be killed meanwhile.
void OutputFolder::check_writable(std::size_t bytes) const {
  const std::string path = root_ + "/videos/.probe-" + base::random_hex(8) + ".part";
  base::replace_file(path, std::string(bytes, 'x'));
  base::remove_file(path);
}

std::size_t OutputFolder::sweep(std::chrono::hours age) const {
  const auto limit = fs::file_time_type::clock::now() - age;
  std::size_t swept = 0;
  std::error_code error;
  for (const std::string folder : {"/videos", "/archive", "/checkpoints"}) {
    for (const auto& entry : fs::directory_iterator(root_ + folder, error)) {
      const fs::path& path = entry.path();
      const bool temporary = path.filename().string().front() == '.' && path.extension() == ".part";
      const bool over = folder == "/checkpoints" && fs::exists(final_names(path.stem().string(), false).video, error);
      if (!temporary && !over) continue;
      if (entry.last_write_time(error) > limit || error) continue;
      swept += fs::remove(path, error) ? 1 : 0;
    }
  }
  return swept;
}

void OutputFolder::remove_earlier(const std::string& id, const std::string& token,
                                  const std::vector<std::string>& before) const {
  const auto mine = queue::parse_token(token).value_or(queue::Token());
  const auto earlier = [&](const std::string& name) {
    const auto found = token_in(name, id);
    if (!found) return false;
    if (std::count(before.begin(), before.end(), found->incarnation) > 0) return true;
    const bool same = found->incarnation.empty() || found->incarnation == mine.incarnation;  // empty: of version 0.1
    return same && found->number < mine.number;
  };
  remove_where(root_ + "/videos", earlier);
  remove_where(root_ + "/archive", earlier);
  remove_where(root_ + "/checkpoints", [&](const std::string& name) { return half_a_state(name, id); });
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

OutputSet OutputFolder::temporary_names(const std::string& id, const std::string& token, bool archive) const {
  return names(".", id, "." + token + ".part", archive);
}

}  // namespace nightreel::rank
