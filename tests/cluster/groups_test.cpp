#include "nightreel/cluster/groups.h"

#include <doctest/doctest.h>

using namespace nightreel;
using Groups = std::vector<std::vector<int>>;

namespace {

// A letter a rank: its host.
std::vector<cluster::Place> on(const std::string& hosts) {
  std::vector<cluster::Place> places;
  for (const char host : hosts) {
    cluster::Place place;
    place.host = host;
    place.host_index = host - 'a';
    places.push_back(place);
  }
  return places;
}

}  // namespace

TEST_CASE("groups are of neighbours on a host first, and what is left over of all is alone") {
  struct Row {
    std::string hosts;
    int size;
    Groups groups;
  };
  const std::vector<Row> rows{
      {"a", 1, {{0}}},
      {"aaa", 1, {{0}, {1}, {2}}},
      {"aaaa", 2, {{0, 1}, {2, 3}}},
      {"aaaaaaa", 2, {{0, 1}, {2, 3}, {4, 5}, {6}}},
      {"aaaaaaa", 4, {{0, 1, 2, 3}, {4}, {5}, {6}}},
      {"abab", 2, {{0, 2}, {1, 3}}},            // numbered host by host in turn
      {"aaabbb", 2, {{0, 1}, {2, 5}, {3, 4}}},  // one left over on each host
      {"aabb", 4, {{0, 1, 2, 3}}},              // larger than a host
      {"aaabbbcc", 3, {{0, 1, 2}, {3, 4, 5}, {6}, {7}}},
      {"aabbcc", 3, {{0, 1, 2}, {3, 4, 5}}},
      {"aaa", 8, {{0}, {1}, {2}}},
  };
  for (const Row& row : rows) {
    CAPTURE(row.hosts);
    CAPTURE(row.size);
    CHECK(cluster::group_ranks(on(row.hosts), row.size) == row.groups);
  }
}
