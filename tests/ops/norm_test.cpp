#include "nightreel/ops/norm.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include "nightreel/ops/modulation.h"
#include "support/gap.h"

using namespace nightreel;
using test::gap;

namespace {

at::Tensor layer_norm_f64(const at::Tensor& x, double eps) {
  const at::Tensor wide = x.to(at::kDouble);
  const at::Tensor centred = wide - wide.mean(-1, true);
  return centred / (centred.square().mean(-1, true) + eps).sqrt();
}

}  // namespace

TEST_CASE("rms_norm divides by the root of the mean square and keeps the dtype") {
  const double eps = 1e-2;  // large enough to be seen
  const at::Tensor x = at::randn({2, 5, 36}).mul_(0.2);
  const at::Tensor weight = at::randn({12});
  // A slice of a fused projection: rows are 36 apart.
  const at::Tensor part = x.slice(2, 12, 24);
  const at::Tensor wide = part.to(at::kDouble);
  const at::Tensor want = wide / (wide.square().mean(-1, true) + eps).sqrt() * weight.to(at::kDouble);
  const at::Tensor got = ops::rms_norm(part, weight, eps);
  CHECK(gap(got, want) < 1e-6);
  CHECK(got.is_contiguous());
  const at::Tensor half = ops::rms_norm(part.to(at::kBFloat16), weight.to(at::kBFloat16), eps);
  CHECK((half.scalar_type() == at::kBFloat16));
  CHECK(gap(half, want) < 0.05);
}

TEST_CASE("layer_norm is float32 within, with or without weights") {
  const double eps = 1e-2;
  const at::Tensor x = at::randn({2, 5, 12}).add_(3);
  const at::Tensor weight = at::randn({12});
  const at::Tensor bias = at::randn({12});
  CHECK(gap(ops::layer_norm(x, {}, {}, eps), layer_norm_f64(x, eps)) < 1e-5);
  const at::Tensor want = layer_norm_f64(x, eps) * weight.to(at::kDouble) + bias.to(at::kDouble);
  CHECK(gap(ops::layer_norm(x, weight, bias, eps), want) < 1e-5);
  const at::Tensor half = ops::layer_norm(x.to(at::kBFloat16), weight, bias, eps);
  CHECK((half.scalar_type() == at::kBFloat16));
  CHECK(gap(half, ops::layer_norm(x.to(at::kBFloat16).to(at::kFloat), weight, bias, eps)) < 0.04);
}

TEST_CASE("modulated_norm scales and shifts each video by its own or by a shared modulation") {
  const double eps = 1e-2;
  for (const std::int64_t modulations : {1, 2}) {
    CAPTURE(modulations);
    const at::Tensor x = at::randn({2, 5, 12});
    const at::Tensor scale = at::randn({modulations, 12});
    const at::Tensor shift = at::randn({modulations, 12});
    const at::Tensor before = x.clone();
    const at::Tensor want = layer_norm_f64(x, eps) * (scale.unsqueeze(1) + 1) + shift.unsqueeze(1);
    CHECK(gap(ops::modulated_norm(x, scale, shift, eps), want) < 1e-5);
    CHECK(at::equal(x, before));
    const at::Tensor half = ops::modulated_norm(x.to(at::kBFloat16), scale, shift, eps);
    CHECK((half.scalar_type() == at::kBFloat16));
    CHECK(gap(half, want) < 0.1);
  }
}

TEST_CASE("gated_add adds the gated branch in float32") {
  for (const std::int64_t modulations : {1, 2}) {
    CAPTURE(modulations);
    const at::Tensor x = at::randn({2, 5, 12});
    const at::Tensor y = at::randn({2, 5, 12});
    const at::Tensor gate = at::randn({modulations, 12});
    const at::Tensor want = x + y * gate.unsqueeze(1);
    const at::Tensor half = ops::gated_add(x.to(at::kBFloat16), y.to(at::kBFloat16), gate);
    CHECK((half.scalar_type() == at::kBFloat16));
    CHECK(gap(half, want) < 0.1);
    CHECK(gap(ops::gated_add(x.clone(), y, gate), want) < 1e-6);
  }
}
