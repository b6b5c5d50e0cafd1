#include "nightreel/rank/stage_watch.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>
#include <utility>
#include <vector>

#include "nightreel/base/error.h"

namespace nightreel::rank {
namespace {

using base::Error;
using base::ErrorKind;
using Stage = std::pair<std::string_view, double StageLimits::*>;

constexpr std::array<Stage, 6> kStages{{{"load", &StageLimits::load},
                                        {"text", &StageLimits::text},
                                        {"step", &StageLimits::step},
                                        {"decode", &StageLimits::decode},
                                        {"encode", &StageLimits::encode},
                                        {"publish", &StageLimits::publish}}};
constexpr int kEnoughSigns = 2;

std::vector<std::string> stage_names() {
  std::vector<std::string> names;
  for (const auto& [name, limit] : kStages) names.emplace_back(name);
  return names;
}

void check_name(const std::string& given) {
  const auto names = stage_names();
  if (std::find(names.begin(), names.end(), given) != names.end()) return;
  std::string all;
  for (const auto& name : names) all += (all.empty() ? "" : ", ") + name;
  throw Error(ErrorKind::usage, "'" + base::printable(given, 40) + "' is no stage; the stages are " + all);
}

double parse_limit(const std::string& text) {
  if (text.empty() || text.front() == '@') throw Error(ErrorKind::usage, "needs a duration, as in step=2h");
  const double seconds = base::parse_duration(text, 0);
  if (seconds <= 0) throw Error(ErrorKind::usage, "a limit must be above zero");
  return seconds;
}

}  // namespace

GivenLimits parse_stage_limits(const std::string& text) {
  GivenLimits given;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find(',', at), text.size());
    const std::string entry = text.substr(at, end - at);
    const std::size_t equals = std::min(entry.find('='), entry.size());
    const std::string name = entry.substr(0, equals);
    check_name(name);
    given[name] = parse_limit(entry.substr(std::min(equals + 1, entry.size())));
    at = end + 1;
  }
  return given;
}

StageLimits stage_limits(bool gpu, const GivenLimits& given) {
  StageLimits limits;
  if (!gpu) {
    limits.text = 2 * 3600;  // a picture's encoding into 81 frames at 720p
    limits.step = 12 * 3600;
    limits.decode = 3600;
  }
  for (const auto& [name, limit] : kStages) {
    if (const auto found = given.find(std::string(name)); found != given.end()) limits.*limit = found->second;
  }
  return limits;
}

void StageWatch::sign(const std::string& stage, std::int64_t step) {
  look();
  const bool further = stage == stage_ && step > step_;
  // What came before a stage's first step (weights, a state to go on from) is no measure of the others.
  if (further && signs_ > 0) longest_s_ = std::max(longest_s_, silence_.seconds());
  if (stage != stage_) longest_s_ = 0;
  signs_ = further ? signs_ + 1 : 0;
  stage_ = stage;
  step_ = step;
  silence_.broken();
}

double StageWatch::stage_limit_s() const {
  if (stage_ == "denoise") return limits_.step;
  if (stage_ == "decode") return limits_.decode;
  if (stage_ == "encode") return limits_.encode;
  return stage_ == "publish" ? limits_.publish : limits_.text;
}

std::chrono::milliseconds StageWatch::limit() const {
  const double most = stage_limit_s();
  const double wanted =
      signs_ > kEnoughSigns ? std::min(most, std::max(limits_.least, limits_.times * longest_s_)) : most;
  return std::chrono::milliseconds(std::llround(wanted * 1000));
}

}  // namespace nightreel::rank
