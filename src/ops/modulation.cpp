// B batch, S tokens, D channels.
#include "nightreel/ops/modulation.h"

#include <ATen/ATen.h>

#include "nightreel/ops/norm.h"

namespace nightreel::ops {

at::Tensor modulated_norm(const at::Tensor& x_BSD, const at::Tensor& scale_BD, const at::Tensor& shift_BD, double eps) {
  // One time step for the whole batch, the usual case: the modulation is the affine part of one fused layer norm.
  if (scale_BD.size(0) == 1) return layer_norm(x_BSD, scale_BD[0] + 1, shift_BD[0], eps);
  return layer_norm(x_BSD.to(at::kFloat), {}, {}, eps)
      .mul_((scale_BD + 1).unsqueeze(1))
      .add_(shift_BD.unsqueeze(1))
      .to(x_BSD.scalar_type());
}

at::Tensor gated_add(at::Tensor x_BSD, const at::Tensor& y_BSD, const at::Tensor& gate_BD) {
  const at::Tensor gate_B1D = gate_BD.unsqueeze(1);
  if (x_BSD.scalar_type() == at::kFloat) return x_BSD.addcmul_(y_BSD, gate_B1D);
  return at::addcmul(x_BSD.to(at::kFloat), y_BSD.to(at::kFloat), gate_B1D).to(x_BSD.scalar_type());
}

}  // namespace nightreel::ops
