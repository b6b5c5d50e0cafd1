// The ranks' answers side by side: what a check is judged from, and how its words name ranks. Plain functions.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "nightreel/cluster/mpi.h"
#include "nightreel/doctor/report.h"

namespace nightreel::doctor {

/// Where each rank is, in rank order: World::places().
using Places = std::vector<cluster::Place>;

/// One rank's answer: its facts, or why it has none.
template <typename Facts>
struct Answer {
  Facts facts{};
  std::string problem;
  bool has_facts() const { return problem.empty(); }
};

/// "ranks 0, 1 on host a, rank 4 on host b".
std::string names_of(const Places& places, const std::vector<int>& ranks);

/// "1 job", "2 jobs".
std::string plural(std::int64_t count, const std::string& what);

/// "x (ranks 0, 1 on host a); y (rank 2 on host b)", one entry for each different value; empty values do not count.
std::string spread(const Places& places, const std::vector<std::string>& values);

/// Is there more than one value? Empty ones do not count.
bool differ(const std::vector<std::string>& values);

/// One failure for each different problem, with the ranks that have it; `problems` in rank order, empty: none.
Findings failures(const std::string& check, const Places& places, const std::vector<std::string>& problems,
                  const std::string& fix);

template <typename Facts>
Findings failures_of(const std::string& check, const Places& places, const std::vector<Answer<Facts>>& answers,
                     const std::string& fix) {
  std::vector<std::string> problems;
  for (const auto& answer : answers) problems.push_back(answer.problem);
  return failures(check, places, problems, fix);
}

/// `pick(facts)` of every rank that has facts; empty for the others.
template <typename Facts, typename Pick>
std::vector<std::string> values_of(const std::vector<Answer<Facts>>& answers, Pick pick) {
  std::vector<std::string> values;
  for (const auto& answer : answers) values.push_back(answer.has_facts() ? pick(answer.facts) : std::string());
  return values;
}

/// The ranks whose facts are so.
template <typename Facts, typename Test>
std::vector<int> ranks_where(const std::vector<Answer<Facts>>& answers, Test test) {
  std::vector<int> ranks;
  for (std::size_t r = 0; r < answers.size(); ++r) {
    if (answers[r].has_facts() && test(answers[r].facts)) ranks.push_back(static_cast<int>(r));
  }
  return ranks;
}

inline void append(Findings& to, const Findings& more) {
  to.insert(to.end(), more.begin(), more.end());
}

}  // namespace nightreel::doctor
