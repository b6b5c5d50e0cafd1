// What doctor found: one line a check, how bad it is, and what to do about it.
//
// Plain values; any thread; nothing fails.
#pragma once

#include <string>
#include <vector>

namespace nightreel::doctor {

enum class Level { ok, warning, failure, not_checked };

/// "ok", "warning", "failure", "not_checked".
const char* name(Level level);

struct Finding {
  std::string check;  // "mpi", "redis", …: several findings may bear one name
  Level level = Level::ok;
  std::string text;
  std::string fix;  // not empty for a warning and a failure
};

using Findings = std::vector<Finding>;

Finding ok(const std::string& check, const std::string& text);
Finding warning(const std::string& check, const std::string& text, const std::string& fix);
Finding failure(const std::string& check, const std::string& text, const std::string& fix);
Finding not_checked(const std::string& check, const std::string& why);

struct RankPlace {
  int rank = 0;
  std::string host;
  int local_rank = 0;
  std::string device;  // "cpu", a GPU's UUID; empty: not known
};

struct Report {
  Findings findings;
  std::vector<RankPlace> ranks;
};

/// 3 where anything failed, else 0.
int exit_code(const Report& report);

/// A line a finding, its fix in a line below, and one of totals.
std::string to_text(const Report& report);

/// {"exit_code", "failures", "warnings", "checks": [{"check", "level", "text", "fix"}], "ranks": [{"rank", "host",
/// "local_rank", "device"}]}; level is ok, warning, failure or not_checked.
std::string to_json(const Report& report);

}  // namespace nightreel::doctor
