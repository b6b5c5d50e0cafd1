#include "doctor/ranks.h"

#include <set>

#include "nightreel/cluster/rank_names.h"

namespace nightreel::doctor {
namespace {

// Rank numbers by value, in the order of the first rank of each.
std::vector<std::pair<std::string, std::vector<int>>> grouped(const std::vector<std::string>& values) {
  std::vector<std::pair<std::string, std::vector<int>>> groups;
  std::map<std::string, std::size_t> at;
  for (std::size_t r = 0; r < values.size(); ++r) {
    if (values[r].empty()) continue;
    const auto [entry, fresh] = at.try_emplace(values[r], groups.size());
    if (fresh) groups.push_back({values[r], {}});
    groups[entry->second].second.push_back(static_cast<int>(r));
  }
  return groups;
}

}  // namespace

std::string plural(std::int64_t count, const std::string& what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

std::string names_of(const Places& places, const std::vector<int>& ranks) {
  std::vector<cluster::RankName> names;
  for (const int r : ranks) {
    const auto& place = places.at(static_cast<std::size_t>(r));
    names.push_back({r, place.host_index, place.host});
  }
  return cluster::rank_names(names);
}

std::string spread(const Places& places, const std::vector<std::string>& values) {
  std::string text;
  for (const auto& [value, ranks] : grouped(values)) {
    text += (text.empty() ? "" : "; ") + value + " (" + names_of(places, ranks) + ")";
  }
  return text;
}

bool differ(const std::vector<std::string>& values) {
  return grouped(values).size() > 1;
}

Findings failures(const std::string& check, const Places& places, const std::vector<std::string>& problems,
                  const std::string& fix) {
  Findings out;
  for (const auto& [problem, ranks] : grouped(problems)) {
    out.push_back(failure(check, names_of(places, ranks) + ": " + problem, fix));
  }
  return out;
}

}  // namespace nightreel::doctor
