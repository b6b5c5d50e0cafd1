// What of NCCL runs without a GPU.
#include <doctest/doctest.h>

#include "nightreel/base/error.h"
#include "nightreel/comm/communicator.h"

namespace comm = nightreel::comm;

TEST_CASE("a unique id is 256 hex digits and never the same twice") {
  const auto first = comm::make_nccl_rendezvous();
  const auto second = comm::make_nccl_rendezvous();
  CHECK(first->address().size() == 256);
  CHECK(first->address().find_first_not_of("0123456789abcdef") == std::string::npos);
  CHECK(first->address() != second->address());
}

TEST_CASE("an address that is no unique id is refused before any GPU is asked for") {
  const std::string good = comm::make_nccl_rendezvous()->address();
  for (const std::string& bad : {std::string(), good.substr(1), good + "0", "g" + good.substr(1), "A" + good.substr(1),
                                 std::string("127.0.0.1:80")}) {
    CAPTURE(bad);
    CHECK_THROWS_WITH_AS(comm::make_nccl(bad, 0, 1, {}), doctest::Contains("is not a unique id"),
                         nightreel::base::Error);
  }
  CHECK_THROWS_WITH_AS(comm::make_nccl(good, 3, 2, {}), doctest::Contains("rank 3 is not one of 2 ranks"),
                       nightreel::base::Error);
}
