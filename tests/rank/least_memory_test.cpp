// With how much memory the GPUs of a run are planned.
#include "rank/least_memory.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "nightreel/base/error.h"
#include "nightreel/memory/model.h"

using namespace nightreel;
using namespace nightreel::rank;

namespace {

std::string with_bytes(std::uint64_t bytes) {
  memory::DeviceMemory memory;
  memory.bytes = bytes;
  return memory::to_json(memory).dump();
}

}  // namespace

TEST_CASE("GPUs of one model are planned with the least that one of them has, others with their own") {
  const std::vector<RenderedOn> on{{"a", "H100", "1"}, {"a", "H100", "2"}, {"b", "A100", "3"}, {"b", "H100", "4"}};
  const std::vector<std::string> told{with_bytes(70), with_bytes(64), with_bytes(40), with_bytes(79)};
  CHECK(least_of_equals(told, on, 0) == 64);
  CHECK(least_of_equals(told, on, 1) == 64);
  CHECK(least_of_equals(told, on, 2) == 40);
  CHECK(least_of_equals(told, on, 3) == 64);
}

TEST_CASE("a rank without a renderer and a CPU say nothing of memory") {
  const std::vector<RenderedOn> on{{"a", "H100", "1"}, {"a", "H100", "2"}, {"a", "", ""}};
  const std::vector<std::string> told{"null", with_bytes(64), with_bytes(0)};
  CHECK(least_of_equals(told, on, 0) == 64);
  CHECK(least_of_equals(told, on, 1) == 64);
  CHECK(least_of_equals(told, on, 2) == 0);
  CHECK_THROWS_AS(least_of_equals({"{}", "7", "null"}, on, 1), base::Error);
}
