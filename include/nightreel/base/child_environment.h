// Which of this process's variables a child process gets.
//
// Plain values; any thread that nobody changes the environment beside. A renderer reads foreign files, so it gets a
// list; what names a Redis, a password or a token is in no list and cannot be added to one.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace nightreel::base {

struct EnvironmentRule {
  enum class Take {
    all,     // but what a launcher (mpirun, srun) sets for its own processes
    listed,  // kListedVariables and `more`
    none     // an empty environment, without the parent's id too
  };
  Take take = Take::all;
  std::vector<std::string> more = {};  // names, or PREFIX*; with `listed`
};

/// The list of docs/running.md: names, and prefixes that end with "*".
const std::vector<std::string>& listed_variables();

/// Whether a variable may hold what is nobody else's business: REDIS*, NIGHTREEL_REDIS*, and names that hold PASSWORD,
/// TOKEN or SECRET.
bool names_a_secret(std::string_view name);

/// The names that `--renderer-env` adds. Throws Error{usage} for what is no name, or names a secret.
std::vector<std::string> checked_variables(const std::vector<std::string>& names);

/// "NAME=value" of each variable that the rule takes; `set` goes before what this process has.
std::vector<std::string> child_environment(const EnvironmentRule& rule,
                                           const std::vector<std::pair<std::string, std::string>>& set);

}  // namespace nightreel::base
