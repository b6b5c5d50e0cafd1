#include "nightreel/weights/shared_load.h"

#include <doctest/doctest.h>

#include <cstdlib>

#include "comm/store_group.h"
#include "nightreel/model/checkpoint.h"
#include "nightreel/model/umt5.h"
#include "support/golden.h"

using namespace nightreel;
using test::kLong;

TEST_CASE("a checkpoint loaded together has its digest, and each of its bytes is read once") {
  for (const char* name : {"experts", "clip"}) {
    const std::string folder = test::golden_path(std::string(name) + "/model");
    const std::string digest = model::model_digest(folder);
    for (const int size : {1, 2, 3, 4, 8}) {
      CAPTURE(name);
      CAPTURE(size);
      std::uint64_t read = 0;
      for (const std::string& outcome : test::in_group(size, kLong, [&](comm::Communicator& group) {
             weights::SharedLoad load(group, at::kCPU, model::lists_of(folder), /*buffer=*/20'000);
             model::Umt5Encoder::load(folder + "/text_encoder", at::kCPU, at::kFloat, &load);  // the rest: digest()
             const std::string got = load.digest(folder);
             group.finalize();
             return (got == digest ? "" : "wrong ") + std::to_string(load.bytes_read());
           })) {
        CHECK_MESSAGE(outcome.find("wrong") == std::string::npos, outcome);
        read += static_cast<std::uint64_t>(std::atoll(outcome.c_str()));
      }
      const std::uint64_t all = weights::stored_bytes(folder);
      CHECK(read <= all);
      CHECK(read > all * 9 / 10);  // a tied copy, and what no module uses, may be left out
    }
  }
}

TEST_CASE("ranks whose checkpoints differ are told so, and none waits for the other") {
  const auto outcomes = test::in_group(2, kLong, [](comm::Communicator& group) {
    const std::string folder = test::golden_path(group.rank() == 0 ? "experts/model" : "clip/model");
    weights::SharedLoad load(group, at::kCPU, model::lists_of(folder));
    return load.digest(folder);
  });
  for (const std::string& outcome : outcomes) CHECK_MESSAGE(outcome.find("do not fit") != std::string::npos, outcome);
}
