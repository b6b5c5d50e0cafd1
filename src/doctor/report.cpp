#include "nightreel/doctor/report.h"

#include <algorithm>

#include "doctor/ranks.h"
#include "nightreel/base/error.h"
#include "nightreel/base/json.h"

namespace nightreel::doctor {
namespace {

constexpr std::size_t kLongestText = 1000;  // bytes: 1,024 ranks have long names

std::ptrdiff_t count(const Report& report, Level level) {
  return std::count_if(report.findings.begin(), report.findings.end(),
                       [&](const Finding& one) { return one.level == level; });
}

Finding finding(const std::string& check, Level level, const std::string& text, const std::string& fix) {
  return {check, level, base::printable(text, kLongestText), base::printable(fix, kLongestText)};
}

std::string padded(std::string text, std::size_t width) {
  text.resize(std::max(width, text.size()), ' ');
  return text;
}

}  // namespace

const char* name(Level level) {
  switch (level) {
    case Level::ok:
      return "ok";
    case Level::warning:
      return "warning";
    case Level::failure:
      return "failure";
    case Level::not_checked:
      return "not_checked";
  }
  return "";
}

Finding ok(const std::string& check, const std::string& text) {
  return finding(check, Level::ok, text, "");
}
Finding warning(const std::string& check, const std::string& text, const std::string& fix) {
  return finding(check, Level::warning, text, fix);
}
Finding failure(const std::string& check, const std::string& text, const std::string& fix) {
  return finding(check, Level::failure, text, fix);
}
Finding not_checked(const std::string& check, const std::string& why) {
  return finding(check, Level::not_checked, why, "");
}

int exit_code(const Report& report) {
  return count(report, Level::failure) > 0 ? base::traits(base::ErrorKind::environment).exit_code : 0;
}

std::string to_text(const Report& report) {
  std::string out;
  for (const Finding& one : report.findings) {
    const std::string level = one.level == Level::not_checked ? "not checked" : name(one.level);
    out += padded(level, 13) + padded(one.check, 13) + one.text + "\n";
    if (!one.fix.empty()) out += std::string(26, ' ') + "fix: " + one.fix + "\n";
  }
  return out + std::to_string(count(report, Level::failure)) + " failed, " +
         plural(count(report, Level::warning), "warning") + ", " + std::to_string(count(report, Level::ok)) + " ok, " +
         std::to_string(count(report, Level::not_checked)) + " not checked\n";
}

std::string to_json(const Report& report) {
  base::Json checks = base::Json::array();
  for (const Finding& one : report.findings) {
    checks.push_back({{"check", one.check}, {"level", name(one.level)}, {"text", one.text}, {"fix", one.fix}});
  }
  base::Json ranks = base::Json::array();
  for (const RankPlace& one : report.ranks) {
    ranks.push_back({{"rank", one.rank}, {"host", one.host}, {"local_rank", one.local_rank}, {"device", one.device}});
  }
  return base::Json{{"exit_code", exit_code(report)},
                    {"failures", count(report, Level::failure)},
                    {"warnings", count(report, Level::warning)},
                    {"checks", checks},
                    {"ranks", ranks}}
      .dump(-1, ' ', false, base::Json::error_handler_t::replace);
}

}  // namespace nightreel::doctor
