#include "nightreel/weights/shared_read.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <sstream>

#include "comm/store_group.h"
#include "nightreel/weights/weights.h"
#include "support/golden.h"

using namespace nightreel;
using test::kLong;

namespace {

/// "BYTES" that this rank has read of the checkpoint, with what is wrong before it.
std::string read_all(const std::string& folder, comm::Communicator& group) {
  const weights::WeightMap weights = weights::WeightMap::open(folder);
  weights::SharedReader reader(group, at::kCPU, /*buffer=*/20'000);  // several turns for the larger tensors
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
  const weights::WeightMap weights = weights::WeightMap::open(folder);
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
      weights::SharedReader reader(group, at::kCPU);
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
