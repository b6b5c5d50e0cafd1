// B batch, S tokens, D width.
#include "model/modulation.h"

#include <ATen/ATen.h>

#include "nightreel/ops/modulation.h"

namespace nightreel::model {

namespace {

/// `change`(tokens of x, the run that they are, the first one's place) for each run of tokens, in their order.
template <class Change>
at::Tensor for_each_run(const Modulation& modulation, const at::Tensor& x_BSD, const Change& change) {
  if (modulation.size() == 1) return change(x_BSD, modulation[0], 0);
  std::vector<at::Tensor> parts_BSD;
  std::int64_t from = 0;
  for (const ModulatedRun& run : modulation) {
    parts_BSD.push_back(change(x_BSD.narrow(1, from, run.tokens), run, from));
    from += run.tokens;
  }
  return at::cat(parts_BSD, 1);
}

}  // namespace

at::Tensor modulated_norm(const Modulation& modulation, const at::Tensor& x_BSD, const NormRows& rows, double eps) {
  return for_each_run(modulation, x_BSD, [&](const at::Tensor& part_BSD, const ModulatedRun& run, std::int64_t) {
    return ops::modulated_norm(part_BSD, run.rows_BD[rows.scale], run.rows_BD[rows.shift], eps);
  });
}

at::Tensor gated_add(const Modulation& modulation, at::Tensor x_BSD, const at::Tensor& y_BSD, std::size_t gate) {
  return for_each_run(modulation, x_BSD, [&](const at::Tensor& part_BSD, const ModulatedRun& run, std::int64_t from) {
    return ops::gated_add(part_BSD, y_BSD.narrow(1, from, part_BSD.size(1)), run.rows_BD[gate]);
  });
}

}  // namespace nightreel::model
