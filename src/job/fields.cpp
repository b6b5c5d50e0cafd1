#include "job/fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace nightreel::job {
namespace {

using base::Error;
using base::ErrorKind;
using base::printable;

// What other programs call our fields; edit distance alone would not find them.
constexpr std::array<std::pair<std::string_view, std::string_view>, 16> kOtherNames{{
    {"base_seed", "seed"},
    {"cfg", "guidance_scale"},
    {"cfg_scale", "guidance_scale"},
    {"first_frame", "image"},
    {"frame_num", "num_frames"},
    {"frames", "num_frames"},
    {"last_frame", "last_image"},
    {"n_prompt", "negative_prompt"},
    {"sample_guide_scale", "guidance_scale"},
    {"sample_neg_prompt", "negative_prompt"},
    {"sample_shift", "flow_shift"},
    {"sample_solver", "sampler"},
    {"sample_steps", "num_inference_steps"},
    {"shift", "flow_shift"},
    {"size", "width and height"},
    {"steps", "num_inference_steps"},
}};

std::string shown(const Json& value) {
  return printable(base::dump_json(value), 60);
}

std::string suggestion(const std::string& name, const std::vector<std::string>& known) {
  const auto* other =
      std::find_if(kOtherNames.begin(), kOtherNames.end(), [&](const auto& n) { return n.first == name; });
  const bool fits = other != kOtherNames.end() &&
                    (other->first == "size" || std::count(known.begin(), known.end(), other->second) > 0);
  const std::string near = fits ? std::string(other->second) : base::nearest(name, known);
  return near.empty() ? "known are " + fmt::format("{}", fmt::join(known, ", ")) : "did you mean " + near + "?";
}

}  // namespace

const std::array<Field<Overrides>, 8> kOverrideFields{{
    {"negative_prompt", [](const Json& v, Overrides& o) { o.negative_prompt = read_text(v, kMaxPrompt); }},
    {"height", [](const Json& v, Overrides& o) { o.height = read_integer(v, 1, 16384); }},
    {"width", [](const Json& v, Overrides& o) { o.width = read_integer(v, 1, 16384); }},
    {"num_frames", [](const Json& v, Overrides& o) { o.num_frames = read_integer(v, 1, 100000); }},
    {"fps", [](const Json& v, Overrides& o) { o.fps = read_number(v, 0, 240, Low::exclusive); }},
    {"num_inference_steps", [](const Json& v, Overrides& o) { o.num_inference_steps = read_integer(v, 1, kMaxSteps); }},
    {"guidance_scale", [](const Json& v, Overrides& o) { o.guidance_scale = read_number(v, 0, 100); }},
    {"guidance_scale_2", [](const Json& v, Overrides& o) { o.guidance_scale_2 = read_number(v, 0, 100); }},
}};

void refuse(const std::string& reason) {
  throw Error(ErrorKind::job, reason);
}

void refuse(std::string_view field, const std::string& reason) {
  refuse(printable(field, 80) + ": " + reason);
}

std::string number_text(double value) {
  return fmt::format("{}", value);
}

std::int64_t read_integer(const Json& value, std::int64_t low, std::int64_t high) {
  if (!value.is_number_integer()) refuse("an integer is needed, not " + shown(value));
  const bool beyond = value.is_number_unsigned() && value.get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX);
  if (beyond || value.get<std::int64_t>() < low || value.get<std::int64_t>() > high) {
    refuse(fmt::format("{} is out of range: {} to {}", shown(value), low, high));
  }
  return value.get<std::int64_t>();
}

double read_number(const Json& value, double low, double high, Low kind) {
  if (!value.is_number()) refuse("a number is needed, not " + shown(value));
  const double number = value.get<double>();
  const bool above = kind == Low::inclusive ? number >= low : number > low;
  if (!std::isfinite(number) || !above || number > high) {
    refuse(
        fmt::format("{} is out of range: {}{} to {}", shown(value), kind == Low::exclusive ? "above " : "", low, high));
  }
  return number;
}

std::string read_text(const Json& value, std::size_t limit) {
  if (!value.is_string()) refuse("text in quotes is needed, not " + shown(value));
  const auto& text = value.get_ref<const std::string&>();
  if (text.size() > limit) refuse(fmt::format("is {} bytes long, at most {} are allowed", text.size(), limit));
  return text;
}

std::string read_choice(const Json& value, const std::vector<std::string>& choices) {
  std::string text = read_text(value, kMaxPrompt);
  if (std::count(choices.begin(), choices.end(), text) == 0) {
    refuse(fmt::format("'{}' is none of {}", printable(text, 60), fmt::join(choices, ", ")));
  }
  return text;
}

const Json& read_array(const Json& value, std::size_t limit) {
  if (!value.is_array()) refuse("a list is needed, not " + shown(value));
  if (value.size() > limit) refuse(fmt::format("has {} entries, at most {} are allowed", value.size(), limit));
  return value;
}

void refuse_unknown(const Json& object, const std::vector<std::string>& known) {
  for (const auto& [name, value] : object.items()) {
    if (std::count(known.begin(), known.end(), name) == 0) {
      refuse(name, "unknown field; " + suggestion(name, known));
    }
  }
}

}  // namespace nightreel::job
