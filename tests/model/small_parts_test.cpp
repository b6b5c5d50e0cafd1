// Arithmetic beside the layers: the buckets of relative positions, pixels as bytes.
#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include "nightreel/model/umt5.h"
#include "nightreel/model/vae.h"

using namespace nightreel;

TEST_CASE("relative positions fall into exact buckets near by and logarithmic ones far away") {
  const at::Tensor buckets = model::relative_position_buckets(300, 32, 128);
  const auto at_position = [&](std::int64_t position) { return buckets[position + 299].item<std::int64_t>(); };
  CHECK(buckets.numel() == 599);
  CHECK(at_position(0) == 0);
  CHECK(at_position(-7) == 7);
  CHECK(at_position(-8) == 8);
  CHECK(at_position(7) == 23);
  CHECK(at_position(-127) == 15);
  CHECK(at_position(-299) == 15);
  CHECK(at_position(299) == 31);
}

TEST_CASE("pixels become bytes by rounding, and what is outside is clamped") {
  const at::Tensor bytes = model::to_bytes(at::tensor({-2.0F, -1.0F, 0.0F, 0.999F, 1.0F, 7.0F}));
  CHECK(at::equal(bytes, at::tensor({0, 0, 128, 255, 255, 255}, at::kByte)));
}
