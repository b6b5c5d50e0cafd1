#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "job/fields.h"
#include "nightreel/job/resolve.h"

namespace nightreel::job {
namespace {

/// For a POSIX shell.
std::string quoted(const std::string& word) {
  constexpr std::string_view kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:,+=@%";
  if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) return word;
  std::string out = "'";
  for (const char c : word) {
    if (c == '\'') {
      out += "'\\''";
    } else {
      out += c;
    }
  }
  return out + "'";
}

class Command {
 public:
  void word(const std::string& word) { text_ += (text_.empty() ? "" : " ") + quoted(word); }
  /// A value that starts with a hyphen would be taken for an option: it goes into the option's own word.
  void option(const std::string& name, const std::string& value) {
    if (!value.empty() && value[0] == '-') return word("--" + name + "=" + value);
    word("--" + name);
    word(value);
  }
  void option(const std::string& name, double value) { option(name, number_text(value)); }
  void option(const std::string& name, std::int64_t value) { option(name, std::to_string(value)); }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

void add_files(const Settings& s, Command& command) {
  if (!s.image.empty()) command.option("image", s.image);
  if (!s.last_image.empty()) command.option("last-image", s.last_image);
  if (!s.loras.empty()) command.option("loras", to_json(s).at("loras").dump());
}

void add_sampling(const Settings& s, Command& command) {
  if (s.sigmas.empty()) {
    command.option("num-inference-steps", s.num_inference_steps);
  } else {
    command.option("sigmas", fmt::format("{}", fmt::join(s.sigmas, ",")));
  }
  command.option("guidance-scale", s.guidance_scale);
  if (s.guidance_scale_2) command.option("guidance-scale-2", *s.guidance_scale_2);
  command.option("flow-shift", s.flow_shift);
  if (s.boundary_ratio) command.option("boundary-ratio", *s.boundary_ratio);
  command.option("sampler", s.sampler);
  command.option("seed", std::to_string(s.seed));
}

}  // namespace

std::string generate_command(const Settings& settings, const std::string& model_folder,
                             const std::vector<std::string>& more, const std::string& output) {
  Command command;
  command.word("nightreel");
  command.word("generate");
  command.option("model", model_folder);
  command.option("prompt", settings.prompt);
  command.option("negative-prompt", settings.negative_prompt);
  add_files(settings, command);
  command.option("height", settings.height);
  command.option("width", settings.width);
  command.option("num-frames", settings.num_frames);
  command.option("fps", settings.fps);
  add_sampling(settings, command);
  for (const auto& word : more) command.word(word);
  command.word("-o");
  command.word(output);
  return command.text();
}

}  // namespace nightreel::job
