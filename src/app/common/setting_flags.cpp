#include "app/common/setting_flags.h"

#include <string>
#include <vector>

#include "nightreel/settings/flags.h"

namespace nightreel::app {
namespace {

using base::Json;
using settings::Row;

std::string type_name(const Row& row) {
  return settings::is_whole(row) ? "INT" : settings::is_number(row) ? "FLOAT" : "TEXT";
}

std::string shown(const Json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

// Those that are options of `run` too.
bool is_runs_too(const Row& row) {
  return row.group == settings::Group::encoding && !row.in_checkpoint;
}

// So that what is wrong is told with the flag's name. The check says in --help what the flag takes.
void check_here(CLI::Option& option, const Row& row) {
  if (settings::is_whole(row)) option.check(CLI::Range(row.low, row.high));
  std::vector<std::string> choices;
  for (const auto choice : settings::choices_of(row)) choices.emplace_back(choice);
  if (!choices.empty()) option.check(CLI::IsMember(choices));
}

void add_setting_flag(CLI::App& sub, const Row& row, Json& job) {
  const std::string field(row.name);
  CLI::Option* option = sub.add_option_function<std::string>(
      settings::flag_names(row),
      [&job, &row, field](const std::string& text) { job[field] = settings::value_of_flag(row, text); },
      is_runs_too(row) ? std::string(row.help) : settings::flag_help(row));
  option->type_name(type_name(row));
  if (is_runs_too(row)) check_here(*option, row);
  if (job.contains(field)) {
    option->default_str(shown(job[field]));
  } else if (!row.neutral.empty()) {
    option->default_str(shown(Json::parse(row.neutral)));
  }
}

void add_size_flag(CLI::App& sub, Json& job) {
  CLI::Option* size = sub.add_option_function<std::string>(
      "--size",
      [&job](const std::string& text) {
        const auto [width, height] = settings::parse_size(text);
        job["width"] = width;
        job["height"] = height;
      },
      "width and height at once, as Wan writes them: 832*480 or 832x480");
  size->excludes(sub.get_option("--width"), sub.get_option("--height"));
}

}  // namespace

void add_setting_flags(CLI::App& sub, Json& job, bool (*wanted)(const Row& row)) {
  for (const Row& row : settings::rows()) {
    if (wanted(row)) add_setting_flag(sub, row, job);
  }
  add_size_flag(sub, job);
}

void add_encoding_flags(CLI::App& sub, settings::Encoding& encoding) {
  const Row& crf = settings::row("crf");
  const Row& codec = settings::row("codec");
  check_here(*sub.add_option("--crf", encoding.crf, std::string(crf.help))->capture_default_str(), crf);
  check_here(*sub.add_option("--codec", encoding.codec, std::string(codec.help))->capture_default_str(), codec);
}

}  // namespace nightreel::app
