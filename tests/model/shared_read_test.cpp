#include "nightreel/model/shared_read.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <sstream>

#include "comm/store_group.h"
#include "nightreel/model/checkpoint.h"
#include "nightreel/model/shared_load.h"
#include "nightreel/model/umt5.h"
#include "nightreel/model/weights.h"
#include "support/golden.h"

using namespace nightreel;
using test::kLong;

namespace {

/// "BYTES" that this rank has read of the checkpoint, with what is wrong before it.
std::string read_all(const std::string& folder, comm::Communicator& group) {
  const model::WeightMap weights = model::WeightMap::open(folder);
  model::SharedReader reader(group, at::kCPU, /*buffer=*/20'000);  // several turns for the larger tensors
  std::ostringstream out;
  for (const std::string& name : weights.names()) {
    const at::Tensor stored = weights.tensor(name);
    const at::Tensor read = reader.read(stored);
    if (read.scalar_type() != stored.scalar_type() || !at::equal(read, stored)) out << name << " is wrong; ";
  }
  group.finalize();
  out << reader.bytes_read();
  return out.str();
}

std::int64_t stored_bytes(const std::string& folder) {
  const model::WeightMap weights = model::WeightMap::open(folder);
  std::int64_t bytes = 0;
  for (const std::string& name : weights.names()) bytes += static_cast<std::int64_t>(weights.stored(name).bytes);
  return bytes;
}

}  // namespace

TEST_CASE("every rank gets every tensor, and together they read each byte once") {
  const std::string folder = test::golden_path("deep/model/transformer");
  for (const int size : {1, 2, 3, 4, 8}) {
    CAPTURE(size);
    std::int64_t read = 0;
    std::int64_t most = 0;
    for (const std::string& outcome :
         test::in_group(size, kLong, [&](comm::Communicator& group) { return read_all(folder, group); })) {
      CHECK_MESSAGE(outcome.find("wrong") == std::string::npos, outcome);
      const std::int64_t own = std::atoll(outcome.c_str());
      read += own;
      most = std::max(most, own);
    }
    CHECK(read == stored_bytes(folder));
    if (size == 1) CHECK(most == read);
  }
}

TEST_CASE("large tensors are read in equal parts, page by page, and odd ends belong to somebody") {
  for (const std::int64_t elements : {1, 3, 4095, 100'000, 1'000'003}) {
    CAPTURE(elements);
    const auto outcomes = test::in_group(3, kLong, [&](comm::Communicator& group) {
      const at::Tensor stored = at::arange(elements, at::kInt).to(at::kBFloat16);
      model::SharedReader reader(group, at::kCPU);
      const bool same = at::equal(reader.read(stored), stored);
      const bool strided = at::equal(reader.read(stored.expand({2, elements}).t()), stored.expand({2, elements}).t());
      group.finalize();
      const std::int64_t own = reader.bytes_read() - 2 * 2 * elements;  // the strided one was read whole
      const bool fair = own <= 2 * elements / 3 + 2 * 4096;
      return std::string(same ? "" : "wrong ") + (strided ? "" : "strided wrong ") + (fair ? "" : "unfair ") + "end";
    });
    for (const std::string& outcome : outcomes) CHECK(outcome == "end");
  }
}

TEST_CASE("a checkpoint loaded together has its digest, and each of its bytes is read once") {
  for (const char* name : {"experts", "clip"}) {
    const std::string folder = test::golden_path(std::string(name) + "/model");
    const std::string digest = model::model_digest(folder);
    for (const int size : {1, 2, 3, 4, 8}) {
      CAPTURE(name);
      CAPTURE(size);
      std::uint64_t read = 0;
      for (const std::string& outcome : test::in_group(size, kLong, [&](comm::Communicator& group) {
             model::SharedLoad load(group, at::kCPU, model::lists_of(folder), /*buffer=*/20'000);
             model::Umt5Encoder::load(folder + "/text_encoder", at::kCPU, at::kFloat, &load);  // the rest: digest()
             const std::string got = load.digest(folder);
             group.finalize();
             return (got == digest ? "" : "wrong ") + std::to_string(load.bytes_read());
           })) {
        CHECK_MESSAGE(outcome.find("wrong") == std::string::npos, outcome);
        read += static_cast<std::uint64_t>(std::atoll(outcome.c_str()));
      }
      const std::uint64_t all = model::stored_bytes(folder);
      CHECK(read <= all);
      CHECK(read > all * 9 / 10);  // a tied copy, and what no module uses, may be left out
    }
  }
}

TEST_CASE("ranks whose checkpoints differ are told so, and none waits for the other") {
  const auto outcomes = test::in_group(2, kLong, [](comm::Communicator& group) {
    const std::string folder = test::golden_path(group.rank() == 0 ? "experts/model" : "clip/model");
    model::SharedLoad load(group, at::kCPU, model::lists_of(folder));
    return load.digest(folder);
  });
  for (const std::string& outcome : outcomes) CHECK_MESSAGE(outcome.find("do not fit") != std::string::npos, outcome);
}
