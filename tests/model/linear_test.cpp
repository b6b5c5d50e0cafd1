// A linear layer says in which form it wants its input, and gives the same for input in that form.
#include "nightreel/model/linear.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include "nightreel/ops/quantised.h"

using namespace nightreel;

TEST_CASE("a layer wants its input in its own dtype, and is content with what is ready") {
  at::manual_seed(1);
  const model::Linear layer{at::randn({4, 6}, at::kDouble), at::randn({4}, at::kDouble), {}};
  const model::InputForm form = layer.input_form();
  CHECK((form.dtype == at::kDouble));
  CHECK_FALSE(form.quantised);
  const at::Tensor x = at::randn({2, 3, 6});
  const model::ReadyInput ready = model::make_ready(x, form);
  CHECK((ready.values.scalar_type() == at::kDouble));
  CHECK_FALSE(ready.scale.defined());
  CHECK(at::equal(layer(ready), layer(x.to(at::kDouble))));
}

TEST_CASE("a weight in fp8 does not ask for rows in fp8 where nothing multiplies them") {
  const ops::Quantised weight = ops::quantise(at::randn({16, 16}));
  const model::Linear layer{weight.values_OI, at::zeros({16}, at::kBFloat16), weight.scale_O1};
  CHECK_FALSE(layer.input_form().quantised);  // not on a CPU
}

TEST_CASE("rows that are made ready in fp8 are rounded each with its scale") {
  at::manual_seed(2);
  const at::Tensor x = at::randn({2, 5, 16}).mul_(at::logspace(-3, 3, 5).unsqueeze(1)).to(at::kBFloat16);
  const model::ReadyInput ready = model::make_ready(x, {at::kBFloat16, /*quantised=*/true});
  const ops::Quantised rows = ops::quantise(x.flatten(0, 1));
  CHECK((ready.values.sizes() == x.sizes()));
  CHECK(at::equal(ready.values.view(at::kByte), rows.values_OI.view(at::kByte).view(x.sizes())));
  CHECK(at::equal(ready.scale, rows.scale_O1));
}
