#include "nightreel/base/child_environment.h"

#include <unistd.h>

#include <algorithm>
#include <array>

#include "nightreel/base/error.h"

extern char** environ;

namespace nightreel::base {
namespace {

constexpr std::array<std::string_view, 6> kLaunchers{"OMPI_*", "PMIX_*", "PMI_*", "PRTE_*", "SLURM_*", "HYDRA_*"};

bool matches(std::string_view pattern, std::string_view name) {
  if (!pattern.empty() && pattern.back() == '*') return name.starts_with(pattern.substr(0, pattern.size() - 1));
  return name == pattern;
}

template <typename Patterns>
bool matches_any(const Patterns& patterns, std::string_view name) {
  return std::any_of(patterns.begin(), patterns.end(), [&](const auto& pattern) { return matches(pattern, name); });
}

bool is_taken(const EnvironmentRule& rule, std::string_view name) {
  if (rule.take == EnvironmentRule::Take::none) return false;
  if (rule.take == EnvironmentRule::Take::all) return !matches_any(kLaunchers, name);
  return !names_a_secret(name) && (matches_any(listed_variables(), name) || matches_any(rule.more, name));
}

bool is_name(std::string_view text) {
  const std::string_view stem = text.substr(0, text.ends_with('*') ? text.size() - 1 : text.size());
  constexpr std::string_view kAllowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_";
  return !stem.empty() && stem.find_first_not_of(kAllowed) == std::string_view::npos;
}

}  // namespace

const std::vector<std::string>& listed_variables() {
  static const std::vector<std::string> kList {
    "PATH", "HOME", "TMPDIR", "LANG", "LC_*", "TZ", "LD_*", "CUDA_*", "NVIDIA_*", "NCCL_*", "TORCH_*", "PYTORCH_*",
        "CUDNN_*", "CUBLAS*", "OMP_*", "GOMP_*", "MKL_*", "FI_*", "RDMAV_*", "UCX_*", "MALLOC_*", "NIGHTREEL_*",
#if defined(__SANITIZE_ADDRESS__)
        "ASAN_OPTIONS", "UBSAN_OPTIONS",  // a sanitized build's own
#endif
  };
  return kList;
}

bool names_a_secret(std::string_view name) {
  const auto holds = [&](std::string_view part) { return name.find(part) != std::string_view::npos; };
  return name.starts_with("REDIS") || name.starts_with("NIGHTREEL_REDIS") || holds("PASSWORD") || holds("TOKEN") ||
         holds("SECRET");
}

std::vector<std::string> checked_variables(const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    if (!is_name(name)) {
      throw Error(ErrorKind::usage, "'" + printable(name, 60) + "' is no name of a variable: write NAME, or PREFIX*");
    }
    if (names_a_secret(name)) {
      throw Error(ErrorKind::usage, printable(name, 60) + ": renderers get no password and no token; leave it out");
    }
  }
  return names;
}

std::vector<std::string> child_environment(const EnvironmentRule& rule,
                                           const std::vector<std::pair<std::string, std::string>>& set) {
  std::vector<std::string> out;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const std::string_view name = text.substr(0, text.find('='));
    const bool replaced = std::any_of(set.begin(), set.end(), [&](const auto& one) { return one.first == name; });
    if (!replaced && is_taken(rule, name)) out.emplace_back(text);
  }
  for (const auto& [key, value] : set) out.push_back(key + "=" + value);
  return out;
}

}  // namespace nightreel::base
