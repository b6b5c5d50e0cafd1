// How messages name ranks: "rank 1 on host a", "ranks 0, 1 on host a, rank 4 on host b".
#pragma once

#include <map>
#include <string>
#include <vector>

namespace nightreel::cluster {

struct RankName {
  int rank = 0;
  int host_index = 0;  // hosts of one name may be two
  std::string host;
};

inline std::string rank_names(const std::vector<RankName>& names) {
  std::map<int, std::vector<RankName>> hosts;
  for (const RankName& one : names) hosts[one.host_index].push_back(one);
  std::string text;
  for (const auto& [index, members] : hosts) {
    text += (text.empty() ? "" : ", ") + std::string(members.size() == 1 ? "rank " : "ranks ");
    for (std::size_t i = 0; i < members.size(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(members[i].rank);
    text += " on host " + members[0].host;
  }
  return text;
}

}  // namespace nightreel::cluster
