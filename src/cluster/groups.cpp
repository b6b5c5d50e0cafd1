#include "nightreel/cluster/groups.h"

#include <algorithm>

namespace nightreel::cluster {
namespace {

// Cuts `ranks` into pieces of `size`, which go to `groups`; returns what is left over.
std::vector<int> cut(const std::vector<int>& ranks, int size, std::vector<std::vector<int>>& groups) {
  auto next = ranks.begin();
  for (; ranks.end() - next >= size; next += size) groups.emplace_back(next, next + size);
  return {next, ranks.end()};
}

}  // namespace

std::vector<std::vector<int>> group_ranks(const std::vector<Place>& places, int size) {
  std::map<int, std::vector<int>> hosts;
  for (std::size_t rank = 0; rank < places.size(); ++rank) {
    hosts[places[rank].host_index].push_back(static_cast<int>(rank));
  }
  std::vector<std::vector<int>> groups;
  std::vector<int> over;
  for (const auto& [host, ranks] : hosts) {
    const std::vector<int> left = cut(ranks, size, groups);
    over.insert(over.end(), left.begin(), left.end());
  }
  for (const int alone : cut(over, size, groups)) groups.push_back({alone});
  for (auto& group : groups) std::sort(group.begin(), group.end());
  std::sort(groups.begin(), groups.end());
  return groups;
}

}  // namespace nightreel::cluster
