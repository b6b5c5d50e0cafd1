#include "nightreel/media/input_files.h"

#include <array>
#include <map>
#include <string>

#include "nightreel/base/error.h"
#include "nightreel/job/job_file.h"
#include "nightreel/job/lora_header.h"
#include "nightreel/media/image_reader.h"

namespace nightreel::media {
namespace {

using base::Error;

constexpr std::int64_t kDecodedPixels = 100'000'000;

/// What is wrong with each file; a list often names one of them many times.
class Files {
 public:
  /// Empty: nothing is known against it.
  const std::string& of_picture(const std::string& path) {
    return known(path, [this](const std::string& file) {
      const ImageFacts facts = look_at_image(file, left_);
      const auto pixels = static_cast<std::int64_t>(facts.width * facts.height);
      if (pixels <= left_) left_ -= pixels;
    });
  }
  const std::string& of_lora(const std::string& path) { return known(path, job::check_lora_header); }

 private:
  template <typename Check>
  const std::string& known(const std::string& path, Check check) {
    const auto [found, is_new] = problems_.try_emplace(path);
    if (!is_new) return found->second;
    try {
      check(path);
    } catch (const Error& e) {
      found->second = e.what();
    }
    return found->second;
  }

  std::map<std::string, std::string> problems_;
  std::int64_t left_ = kDecodedPixels;
};

std::string problem_of(const job::Job& job, Files& files) {
  const std::array<std::pair<const char*, const std::string*>, 2> pictures{
      {{"image", &job.image}, {"last_image", &job.last_image}}};
  for (const auto& [field, path] : pictures) {
    if (path->empty()) continue;
    if (const auto& why = files.of_picture(*path); !why.empty()) return field + (": " + why);
  }
  for (std::size_t i = 0; i < job.loras.size(); ++i) {
    const auto& why = files.of_lora(job.loras[i].path);
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
