// The kernels of nightreel/ops. B videos, S queries or tokens, T keys, H heads, D size of a head or width.
//
// In sixteen bits the float32 run gets the rounded inputs, so that what is measured is the kernel's own error.
#include <ATen/ATen.h>

#include "gpu/check.h"
#include "nightreel/ops/attention.h"
#include "nightreel/ops/modulation.h"
#include "nightreel/ops/norm.h"
#include "nightreel/ops/quantised.h"
#include "nightreel/ops/rotary.h"

namespace nightreel::proof {

namespace {

constexpr double kEps = 1e-6;

using Sizes = std::vector<std::int64_t>;

struct Operands {
  std::vector<at::Tensor> narrow;  // in the dtype of the check
  std::vector<at::Tensor> wide;    // float32 in every one
};
using Kernel = std::function<at::Tensor(const Operands&)>;

Operands brought(const Operands& operands, at::Device device, at::ScalarType rounded, at::ScalarType dtype) {
  Operands there;
  for (const at::Tensor& x : operands.narrow) there.narrow.push_back(x.to(rounded).to(device, dtype));
  for (const at::Tensor& x : operands.wide) there.wide.push_back(x.to(device));
  return there;
}

struct Sized {
  Sizes sizes;
  bool quick;
};

void add_kernel(std::vector<Check>& checks, const std::string& name, const std::vector<Sized>& sized, double limit,
                const std::function<Operands(const Sizes&)>& make, const Kernel& kernel) {
  for (const Sized& one : sized) {
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
      checks.push_back({name, name_of(dtype), text_of(one.sizes), one.quick, [=] {
                          const Operands operands = make(one.sizes);
                          return compare(dtype, limit, [&](at::Device device, at::ScalarType in) {
                            return kernel(brought(operands, device, dtype, in));
                          });
                        }});
    }
  }
}

/// Tokens of 1 x 1 x S, so that every S has a table.
Operands rotary_operands(const Sizes& BSHD) {
  return {{at::randn(BSHD)}, {ops::rotary_table({1, 1, BSHD[1]}, BSHD[3])}};
}

void add_rotary(std::vector<Check>& checks) {
  add_kernel(checks, "rotary",
             {{{1, 33, 12, 64}, true},
              {{2, 105, 3, 12}, true},
              {{1, 1, 1, 128}, false},
              {{1, 1560, 40, 128}, false},
              {{2, 777, 24, 128}, false}},
             1e-5, rotary_operands, [](const Operands& x) { return ops::apply_rotary(x.narrow[0], x.wide[0]); });
}

const std::vector<Sized> kRows{
    {{2, 33, 96}, true}, {{1, 1, 12}, false}, {{1, 257, 1536}, true}, {{2, 131, 3072}, false}, {{1, 520, 5120}, false}};

Sizes width_of(const Sizes& BSD) {
  return {BSD.back()};
}

void add_norms(std::vector<Check>& checks) {
  add_kernel(
      checks, "rms-norm", kRows, 1e-5,
      [](const Sizes& BSD) {
        return Operands{{at::randn(BSD)}, {at::randn(width_of(BSD))}};
      },
      [](const Operands& x) { return ops::rms_norm(x.narrow[0], x.wide[0], kEps); });
  add_kernel(
      checks, "layer-norm", kRows, 1e-5,
      [](const Sizes& BSD) {
        return Operands{{at::randn(BSD) + 0.5}, {at::randn(width_of(BSD)), at::randn(width_of(BSD))}};
      },
      [](const Operands& x) { return ops::layer_norm(x.narrow[0], x.wide[0], x.wide[1], kEps); });
}

void add_modulation(std::vector<Check>& checks) {
  add_kernel(
      checks, "modulated-norm", kRows, 1e-5,
      [](const Sizes& BSD) {
        return Operands{{at::randn(BSD)}, {at::randn({BSD[0], BSD[2]}), at::randn({BSD[0], BSD[2]})}};
      },
      [](const Operands& x) { return ops::modulated_norm(x.narrow[0], x.wide[0], x.wide[1], kEps); });
  add_kernel(
      checks, "gated-add", kRows, 1e-5,
      [](const Sizes& BSD) {
        return Operands{{at::randn(BSD), at::randn(BSD)}, {at::randn({1, BSD[2]})}};
      },
      [](const Operands& x) { return ops::gated_add(x.narrow[0].clone(), x.narrow[1], x.wide[0]); });
}

/// Sizes are B, S, T, H, D.
Operands attention_operands(const Sizes& sizes) {
  const Sizes queries{sizes[0], sizes[1], sizes[3], sizes[4]};
  const Sizes keys{sizes[0], sizes[2], sizes[3], sizes[4]};
  return {{at::randn(queries), at::randn(keys), at::randn(keys), at::randn({sizes[2]})}, {}};
}

/// Head sizes of 128 (every Wan), 64 (UMT5), 80 (CLIP), and, last, one that no fused kernel takes.
const std::vector<Sized> kAttentions{{{1, 33, 33, 4, 16}, true},        {{2, 65, 17, 3, 128}, true},
                                     {{1, 257, 257, 16, 80}, false},    {{1, 1, 1, 2, 64}, false},
                                     {{1, 1030, 1030, 12, 128}, false}, {{2, 515, 512, 24, 128}, false},
                                     {{1, 50, 70, 2, 44}, false}};

void add_attention(std::vector<Check>& checks) {
  add_kernel(checks, "attention", kAttentions, 1e-4, attention_operands,
             [](const Operands& x) { return ops::attention(x.narrow[0], x.narrow[1], x.narrow[2]); });
  add_kernel(checks, "attention-bias", kAttentions, 1e-4, attention_operands,
             [](const Operands& x) { return ops::attention(x.narrow[0], x.narrow[1], x.narrow[2], x.narrow[3]); });
  std::vector<Sized> parts = kAttentions;  // without the last, which goes by plain products in sixteen bits
  parts.pop_back();
  add_kernel(checks, "attention-part", parts, 1e-4, attention_operands,
             [](const Operands& x) { return ops::partial_attention(x.narrow[0], x.narrow[1], x.narrow[2]).out_BSHD; });
}

/// Where no fused kernel takes the head, scores and weights are rounded to sixteen bits between two products, which the
/// CPU's kernel does not: 2^-8 of a score of 4 is as much as 2% of its weight.
void add_plain_parts(std::vector<Check>& checks) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
    const Sizes sizes = kAttentions.back().sizes;
    checks.push_back({"attention-part", name_of(dtype), text_of(sizes), false, [=] {
                        const auto x = attention_operands(sizes);
                        const auto out = [&](at::Device device, at::ScalarType in) {
                          const auto there = brought(x, device, dtype, in).narrow;
                          return ops::partial_attention(there[0], there[1], there[2]).out_BSHD;
                        };
                        const double limit = dtype == at::kFloat ? 1e-4 : 2e-2;
                        return std::vector{largest(out(kGpu, dtype), out(at::kCPU, at::kFloat), limit)};
                      }});
  }
}

/// The logarithms of sums by which the parts of a ring are put together: float32 in every dtype, but of products that
/// one kernel may round to sixteen bits first.
void add_weights_of_parts(std::vector<Check>& checks) {
  for (const Sized& one : kAttentions) {
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
      checks.push_back({"attention-weight", name_of(dtype), text_of(one.sizes), one.quick, [=] {
                          const auto x = attention_operands(one.sizes);
                          const auto weight = [&](at::Device device, at::ScalarType in) {
                            const auto there = brought(x, device, dtype, in).narrow;
                            return ops::partial_attention(there[0], there[1], there[2]).weight_BSH;
                          };
                          const double limit = dtype == at::kFloat ? 1e-5 : 2e-2;
                          return std::vector{largest(weight(kGpu, dtype), weight(at::kCPU, at::kFloat), limit)};
                        }});
    }
  }
}

double mean_of(const at::Tensor& x) {
  return x.abs().mean().item<double>();
}

/// A rounding that falls the other way on a GPU, where the scale is off by its last bit, is rare but a whole step.
std::vector<Measured> quantise_alike(const Sizes& OI) {
  const at::Tensor weight = at::randn(OI);
  const at::Tensor here = ops::dequantise(ops::quantise(weight));
  const at::Tensor there = ops::dequantise(ops::quantise(weight.to(kGpu))).cpu();
  return {{"mean", mean_of(there - here) / mean_of(here), 1e-4}};
}

/// Products in fp8 round x too: the CPU's are those of the same roundings. Sixteen bits of the result are 2^-8 of it.
std::vector<Measured> fp8_product(const Sizes& SIO, at::ScalarType dtype) {
  const at::Tensor x = at::randn({SIO[0], SIO[1]}).to(dtype);
  const auto weight = ops::quantise(at::randn({SIO[2], SIO[1]}) / 16);
  const at::Tensor bias = at::randn({SIO[2]}).to(dtype);
  const ops::Quantised there{weight.values_OI.to(kGpu), weight.scale_O1.to(kGpu)};
  const at::Tensor made = ops::quantised_linear(x.to(kGpu), there, bias.to(kGpu));
  const bool rounds = ops::has_fp8_products(x.to(kGpu), there);
  const at::Tensor wide = rounds ? ops::dequantise(ops::quantise(x)) : x.to(at::kFloat);
  const at::Tensor want = at::linear(wide, ops::dequantise(weight), bias.to(at::kFloat));
  Measured measured = largest(made, want, dtype == at::kFloat ? 1e-4 : 2e-2);
  measured.what += rounds ? ", product in fp8" : ", product of what is unpacked";
  return {measured};
}

void add_quantised(std::vector<Check>& checks) {
  for (const auto& [sizes, quick] : {Sized{{96, 64}, true}, Sized{{1536, 1536}, false}, Sized{{33, 17}, false}}) {
    checks.push_back({"quantise", "fp8", text_of(sizes), quick, [sizes = sizes] { return quantise_alike(sizes); }});
  }
  for (const auto& [sizes, quick] : {Sized{{5, 64, 32}, true}, Sized{{33, 1536, 1536}, false},
                                     Sized{{777, 5120, 1024}, false}, Sized{{7, 33, 17}, true}}) {
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
      checks.push_back({"quantised-linear", name_of(dtype), text_of(sizes), quick,
                        [sizes = sizes, dtype] { return fp8_product(sizes, dtype); }});
    }
  }
}

}  // namespace

void add_kernels(std::vector<Check>& checks) {
  add_rotary(checks);
  add_norms(checks);
  add_modulation(checks);
  add_attention(checks);
  add_plain_parts(checks);
  add_weights_of_parts(checks);
  add_quantised(checks);
}

}  // namespace nightreel::proof
