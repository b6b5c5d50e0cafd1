#include "nightreel/rank/output_folder.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <optional>
#include <string_view>

#include "nightreel/base/file.h"
#include "nightreel/base/publishing.h"
#include "nightreel/base/random.h"
#include "nightreel/queue/token.h"

namespace nightreel::rank {
namespace {

namespace fs = std::filesystem;

bool ends_with_part(std::string_view name) {
  return name.size() > 5 && name.substr(name.size() - 5) == ".part";
}

constexpr std::size_t kHashDigits = 8;  // in names of temporary files

// A job's hash as it stands in file names; it comes from the queue, where anybody may have written.
std::string mark_of(const std::string& hash) {
  std::string mark = hash.substr(0, kHashDigits);
  const auto plain = [](unsigned char c) { return std::isalnum(c) != 0; };
  std::replace_if(
      mark.begin(), mark.end(), [&](char c) { return !plain(static_cast<unsigned char>(c)); }, '0');
  return mark;
}

// The token in "7-ab12.part…".
std::optional<queue::Token> leading_token(std::string_view rest) {
  const std::size_t end = std::min(rest.find('.'), rest.size());
  return rest.substr(end, 5) == ".part" ? queue::parse_token(rest.substr(0, end)) : std::nullopt;
}

// The token in ".ID.mp4.HASH.7-ab12.part" (0.1 had no hash there), or in "..ID.mp4.HASH.7-ab12.part.0123.part", the
// beginning of such a file; nothing in other names. An id may contain dots: what follows it must be exactly this.
std::optional<queue::Token> token_in(std::string_view name, const std::string& id) {
  if (!ends_with_part(name) || name.front() != '.') return std::nullopt;
  name.remove_prefix(name.substr(0, 2) == ".." ? 2 : 1);
  for (const char* suffix : {".mp4.", ".json.", ".jpg.", ".h5."}) {
    const std::string head = id + suffix;
    if (name.substr(0, head.size()) != head) continue;
    const std::string_view rest = name.substr(head.size());
    if (const auto token = leading_token(rest)) return token;
    const std::size_t dot = rest.find('.');
    if (dot == std::string_view::npos || mark_of(std::string(rest.substr(0, dot))) != rest.substr(0, dot)) continue;
    if (const auto token = leading_token(rest.substr(dot + 1))) return token;
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
void OutputFolder::check_publishing() const {
  base::check_publishing(root_ + "/videos");
}

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

OutputSet OutputFolder::temporary_names(const Attempt& attempt, bool archive) const {
  return names(".", attempt.id, "." + mark_of(attempt.hash) + "." + attempt.token + ".part", archive);
}

std::string OutputFolder::stamp_of_video(const std::string& id) const {
  return base::file_stamp(final_names(id, false).video);
}

std::string OutputFolder::stamp_of_set(const std::string& id) const {
  const std::string video = stamp_of_video(id);
  return video.empty() ? video : video + "+" + base::file_stamp(final_names(id, false).sidecar);
}

std::optional<std::string> OutputFolder::set_aside(const std::string& id, const std::string& stamp,
                                                   const std::string& sha256) const {
  const std::string video = final_names(id, false).video;
  const std::string aside = video + ".was-" + sha256.substr(0, 8);
  for (int number = 1;; ++number) {
    if (base::file_stamp(video) != stamp) return std::nullopt;
    const std::string name = number == 1 ? aside : aside + "-" + std::to_string(number);
    if (!base::publish(video, name)) continue;  // such a file was set aside before
    // Its second name, which publish() leaves where it must; not what somebody has published there since.
    if (base::file_stamp(video) == base::file_stamp(name)) base::remove_file(video);
    base::sync_folder(base::parent_folder(video));
    return name;
  }
}

}  // namespace nightreel::rank
