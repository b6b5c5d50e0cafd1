#include "nightreel/media/input_files.h"

#include <array>
#include <fstream>
#include <map>
#include <string_view>

#include "nightreel/base/error.h"
#include "nightreel/job/job_file.h"
#include "nightreel/job/lora_header.h"

namespace nightreel::media {
namespace {

using base::Error;
using base::ErrorKind;

// Of a PNG, a JPEG, a WebP picture.
void check_picture_head(const std::string& path) {
  std::array<char, 12> bytes{};
  std::ifstream file(path, std::ios::binary);
  file.read(bytes.data(), bytes.size());
  const std::string_view head(bytes.data(), static_cast<std::size_t>(file.gcount()));
  const auto begins = [&](std::string_view magic) { return head.substr(0, magic.size()) == magic; };
  const bool webp = begins("RIFF") && head.size() == bytes.size() && head.substr(8) == "WEBP";
  if (begins("\x89PNG\r\n\x1a\n") || begins("\xff\xd8\xff") || webp) return;
  throw Error(ErrorKind::job, base::printable(path, 4096) + ": is no PNG, JPEG or WebP picture");
}

class Files {
 public:
  /// Why this file is of no use; empty: nothing is known against it.
  const std::string& problem(const std::string& path, void (*check)(const std::string&)) {
    const auto [known, is_new] = known_.try_emplace(path);
    if (!is_new) return known->second;
    try {
      check(path);
    } catch (const Error& e) {
      known->second = e.what();
    }
    return known->second;
  }

 private:
  std::map<std::string, std::string> known_;
};

std::string problem_of(const job::Job& job, Files& files) {
  const std::array<std::pair<const char*, const std::string*>, 2> pictures{
      {{"image", &job.image}, {"last_image", &job.last_image}}};
  for (const auto& [field, path] : pictures) {
    if (path->empty()) continue;
    if (const auto& why = files.problem(*path, check_picture_head); !why.empty()) return field + (": " + why);
  }
  for (std::size_t i = 0; i < job.loras.size(); ++i) {
    const auto& why = files.problem(job.loras[i].path, job::check_lora_header);
    if (!why.empty()) return "loras: [" + std::to_string(i) + "]: " + why;
  }
  return "";
}

}  // namespace

void check_input_files(const std::vector<job::Job>& jobs) {
  job::BadLines bad(job::JobFileLimits{}.shown);
  Files files;
  for (const auto& job : jobs) {
    const std::string why = problem_of(job, files);
    if (!why.empty()) bad.add((job.origin.empty() ? "" : job.origin + ": ") + why);
  }
  bad.check();
}

}  // namespace nightreel::media
