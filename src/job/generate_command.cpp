#include "nightreel/job/resolve.h"
#include "nightreel/settings/flags.h"

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
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

}  // namespace

std::string generate_command(const settings::Settings& settings, const std::string& model_folder,
                             const std::vector<std::string>& more, const std::string& output) {
  Command command;
  command.word("nightreel");
  command.word("generate");
  command.option("model", model_folder);
  for (const auto& [flag, value] : settings::flags_of(settings)) command.option(flag, value);
  for (const auto& word : more) command.word(word);
  command.word("-o");
  command.word(output);
  return command.text();
}

}  // namespace nightreel::job
