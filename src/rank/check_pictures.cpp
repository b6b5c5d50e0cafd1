#include "nightreel/rank/check_pictures.h"

#include <map>
#include <string>

#include "nightreel/base/error.h"
#include "nightreel/job/job_file.h"
#include "nightreel/media/image_reader.h"

namespace nightreel::rank {
namespace {

constexpr std::int64_t kDecodedPixels = 200'000'000;

/// What is wrong with each file; a list often names one picture many times.
class PictureFiles {
 public:
  /// Empty: nothing.
  const std::string& problem(const std::string& path) {
    const auto [known, is_new] = problems_.try_emplace(path);
    if (is_new) known->second = look(path);
    return known->second;
  }

 private:
  std::string look(const std::string& path) {
    try {
      const media::ImageFacts facts = media::look_at_image(path, left_);
      const auto pixels = static_cast<std::int64_t>(facts.width * facts.height);
      if (pixels <= left_) left_ -= pixels;
      return {};
    } catch (const base::Error& e) {
      if (e.kind() != base::ErrorKind::job) throw;
      return e.what();
    }
  }

  std::map<std::string, std::string> problems_;
  std::int64_t left_ = kDecodedPixels;
};

}  // namespace

void check_pictures(const std::vector<job::Job>& jobs) {
  PictureFiles files;
  job::BadLines bad(job::JobFileLimits{}.shown);
  for (const job::Job& job : jobs) {
    for (const auto& [field, path] : {std::pair("image", &job.image), std::pair("last_image", &job.last_image)}) {
      if (path->empty() || files.problem(*path).empty()) continue;
      bad.add((job.origin.empty() ? "" : job.origin + ": ") + field + ": " + files.problem(*path));
    }
  }
  bad.check();
}

}  // namespace nightreel::rank
