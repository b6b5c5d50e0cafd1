#include "nightreel/rank/past_times.h"

#include <algorithm>
#include <filesystem>

#include "nightreel/base/error.h"
#include "rank/sidecar.h"

namespace nightreel::rank {
namespace {

std::string size_text(std::int64_t width, std::int64_t height, std::int64_t frames) {
  return std::to_string(width) + "x" + std::to_string(height) + ", " + std::to_string(frames) + " frames";
}

std::int64_t number_in(const Json& object, const std::string& name) {
  const auto found = object.is_object() ? object.find(name) : object.end();
  return found != object.end() && found->is_number_integer() ? found->get<std::int64_t>() : 0;
}

double seconds_in(const Json& timings) {
  double sum = 0;
  for (const auto& stage : timings) {
    if (stage.is_number()) sum += stage.get<double>();
  }
  return sum;
}

}  // namespace

std::string size_of(const settings::Settings& settings) {
  return size_text(settings.width, settings.height, settings.num_frames);
}

PastTimes::PastTimes(const OutputFolder& out, const std::string& model_digest) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(out.root() + "/videos", error)) {
    const std::string name = entry.path().filename().string();
    if (name.front() == '.' || entry.path().extension() != ".json") continue;
    const Json sidecar = read_sidecar(entry.path().string());
    if (text_in(sidecar, "model_digest") != model_digest) continue;
    const Json s = sidecar.value("settings", Json());
    add(size_text(number_in(s, "width"), number_in(s, "height"), number_in(s, "num_frames")),
        seconds_in(sidecar.value("timings", Json())));
  }
}

void PastTimes::add(const settings::Settings& settings, double seconds) {
  add(size_of(settings), seconds);
}

void PastTimes::add(const std::string& size, double seconds) {
  slowest_[size] = std::max(slowest_[size], seconds);
}

std::optional<double> PastTimes::slowest(const settings::Settings& settings) const {
  const auto found = slowest_.find(size_of(settings));
  return found == slowest_.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace nightreel::rank
