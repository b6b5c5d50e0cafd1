// The computing stand-in itself: what it refuses, what it leaves undone until somebody waits, what it computes by hand.
#include <ATen/ATen.h>
#include <ATen/SDPBackend.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <functional>
#include <string>

#include "nightreel/ops/attention.h"
#include "nightreel/ops/quantised.h"
#include "nightreel/ops/rotary.h"
#include "support/golden.h"

using namespace nightreel;

namespace {

const at::Device kGpu(at::kCUDA, 0);

void wait() {
  CHECK((cudaStreamSynchronize(c10::cuda::getCurrentCUDAStream().stream()) == cudaSuccess));
}

/// A broken GPU stays broken: in a process of its own. True: `work` said so.
bool in_a_child(const std::function<bool()>& work) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(work() ? 0 : 1);
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

std::string what_is_thrown(const std::function<void()>& work) {
  try {
    work();
    return "";
  } catch (const c10::Error& e) {
    return e.what_without_backtrace();
  }
}

bool says(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("every fresh tensor has rubbish in it, also where another one was") {
  for (int round = 0; round < 3; ++round) {
    const at::Tensor fresh = at::empty({1000}, at::TensorOptions(at::kByte).device(kGpu));
    CHECK(fresh.cpu().eq(0xA5).all().item<bool>());
    fresh.zero_();
    CHECK(fresh.cpu().eq(0).all().item<bool>());
  }
}

TEST_CASE("a copy to pinned memory is there for those who wait") {
  const at::Tensor host = at::zeros({64}).pin_memory();
  const at::Tensor there = at::arange(64, at::kFloat).to(kGpu);
  host.copy_(there, /*non_blocking=*/true);
  CHECK(at::equal(host, at::zeros({64})));
  wait();
  CHECK(at::equal(host, at::arange(64, at::kFloat)));
  host.copy_(at::ones({64}, kGpu), /*non_blocking=*/true);
  CHECK(at::equal(host.to(kGpu, /*non_blocking=*/true).cpu(), at::ones({64})));  // the stream's order
}

TEST_CASE("tensors of two devices are refused, numbers are not") {
  const at::Tensor here = at::rand({4, 4});
  const at::Tensor there = here.to(kGpu);
  const at::Tensor rows = at::zeros({2}, at::kLong);
  CHECK_NOTHROW(there * at::scalar_tensor(2.0));
  const std::vector<std::pair<const char*, std::function<void()>>> mixed{
      {"add", [&] { there + here; }},
      {"add_", [&] { at::Tensor(there.clone()).add_(here); }},
      {"mm", [&] { at::mm(there, here); }},
      {"addmm", [&] { at::addmm(here[0], there, there); }},
      {"linear", [&] { at::linear(there, there, here[0]); }},
      {"bmm", [&] { at::bmm(there.unsqueeze(0), here.unsqueeze(0)); }},
      {"cat",
       [&] {
         at::cat({there, here});
       }},
      {"where", [&] { at::where(there > 0, there, here); }},
      {"index_select", [&] { at::index_select(there, 0, rows); }},
      {"embedding", [&] { at::embedding(there, rows); }},
      {"embedding of the CPU", [&] { at::embedding(here, rows.to(kGpu)); }},
      {"layer_norm", [&] { at::layer_norm(there, {4}, here[0]); }},
      {"conv3d",
       [&] {
         at::conv3d(at::rand({1, 2, 3, 4, 4}, kGpu), at::rand({2, 2, 1, 1, 1}));
       }},
      {"attention", [&] {
         const at::Tensor q = at::rand({1, 2, 4, 8}, kGpu);
         at::scaled_dot_product_attention(q, q, q.cpu());
       }}};
  for (const auto& [name, call] : mixed) {
    CAPTURE(name);
    CHECK_THROWS_AS(call(), c10::Error);
  }
}

TEST_CASE("a kernel that nothing computes breaks the GPU, and says which it was") {
  CHECK(in_a_child([] {
    const at::Tensor x = at::ones({8}, kGpu);
    const at::Tensor mask = at::ones({8}, at::TensorOptions(at::kByte).device(kGpu));
    const std::string first = what_is_thrown([&] { at::_masked_scale(x, mask, 2); });  // for CUDA alone
    const std::string later = what_is_thrown([&] { x + x; });
    return says(first, "no host twin of the kernel") && says(first, "masked_scale") && says(later, "no host twin");
  }));
}

TEST_CASE("a launch that a GPU would refuse is refused") {
  CHECK((cudaLaunchKernel(nullptr, dim3(1), dim3(2048), nullptr, 0, nullptr) == cudaErrorInvalidConfiguration));
  CHECK((cudaGetLastError() == cudaErrorInvalidConfiguration));
  CHECK((cudaGetLastError() == cudaSuccess));
}

TEST_CASE("operators of all kinds give the CPU's numbers, with CUDA's strides") {
  const at::Tensor x = at::randn({3, 5, 8});
  const std::vector<std::pair<const char*, std::function<at::Tensor(const at::Tensor&)>>> operators{
      {"sum", [](const at::Tensor& t) { return t.sum(1); }},
      {"softmax", [](const at::Tensor& t) { return t.softmax(-1); }},
      {"layer norm", [](const at::Tensor& t) { return at::layer_norm(t, {8}); }},
      {"norm", [](const at::Tensor& t) { return at::linalg_vector_norm(t, 2, {-1}, true); }},
      {"silu", [](const at::Tensor& t) { return at::silu(t); }},
      {"gelu", [](const at::Tensor& t) { return at::gelu(t, "tanh"); }},
      {"pad",
       [](const at::Tensor& t) {
         return at::constant_pad_nd(t, {1, 2}, 3.0);
       }},
      {"flipped copy", [](const at::Tensor& t) { return t.transpose(0, 2).contiguous(); }},
      {"in place", [](const at::Tensor& t) { return t.clone().mul_(3).add_(1); }},
      {"bytes", [](const at::Tensor& t) { return t.mul(40).clamp(0, 255).to(at::kByte); }},
      {"stack",
       [](const at::Tensor& t) {
         return at::stack({t, t + 1}, 1);
       }},
      {"products", [](const at::Tensor& t) { return at::matmul(t, t.transpose(1, 2)); }},
      {"max", [](const at::Tensor& t) { return t.amax(-1); }},
      {"upsampled", [](const at::Tensor& t) { return at::upsample_nearest1d(t, {16}); }},
      {"cumulated", [](const at::Tensor& t) { return t.cumsum(1); }}};
  for (const auto& [name, work] : operators) {
    CAPTURE(name);
    const at::Tensor there = work(x.to(kGpu));
    CHECK(there.is_cuda());
    CHECK(test::relative_error(there, work(x)) < 1e-6);
  }
}

TEST_CASE("LibTorch chooses cuDNN's attention for bfloat16, and the one of little memory for float32") {
  const at::Tensor q = at::randn({1, 2, 6, 16});
  const at::Tensor want = at::scaled_dot_product_attention(q, q, q);
  for (const auto& [dtype, backend, limit] : {std::tuple{at::kBFloat16, at::SDPBackend::cudnn_attention, 0.02},
                                              std::tuple{at::kFloat, at::SDPBackend::efficient_attention, 1e-5}}) {
    const at::Tensor there = q.to(kGpu, dtype);
    CHECK(at::_fused_sdp_choice(there, there, there) == static_cast<std::int64_t>(backend));
    CHECK(test::relative_error(at::scaled_dot_product_attention(there, there, there), want) < limit);
  }
  const at::Tensor narrow = q.to(kGpu, at::kBFloat16);
  const at::Tensor bias = at::zeros({1, 1, 1, 6}, at::TensorOptions(at::kFloat).device(kGpu));
  CHECK_THROWS_AS(at::_scaled_dot_product_cudnn_attention(narrow, narrow, narrow, bias, false), c10::Error);
  CHECK_THROWS_AS(at::_scaled_dot_product_flash_attention(q.to(kGpu), q.to(kGpu), q.to(kGpu)), c10::Error);
}

TEST_CASE("attention in parts and the rotation are the CPU's in every type and size") {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const double limit = dtype == at::kFloat ? 1e-5 : 0.02;
    for (const std::int64_t tokens : {1, 33}) {
      const at::Tensor q = at::randn({1, tokens, 2, 16}).to(dtype);
      const auto here = ops::partial_attention(q, q, q);
      const auto there = ops::partial_attention(q.to(kGpu), q.to(kGpu), q.to(kGpu));
      CHECK(test::relative_error(there.out_BSHD, here.out_BSHD) < limit);
      CHECK(test::relative_error(there.weight_BSH, here.weight_BSH) < limit);
    }
    const at::Tensor table = ops::rotary_table({3, 5, 7}, 12, 10000);
    const at::Tensor x = at::randn({2, 105, 3, 12}).to(dtype);
    CHECK(test::relative_error(ops::apply_rotary(x.to(kGpu), table.to(kGpu)), ops::apply_rotary(x, table)) < limit);
  }
}

TEST_CASE("products in fp8 are those of the dequantised weights, and want what a GPU wants") {
  at::manual_seed(7);
  const at::Tensor weight = at::randn({32, 64});
  const at::Tensor x = at::randn({5, 64}).to(at::kBFloat16);
  const auto there = ops::quantise(weight.to(kGpu));
  CHECK(ops::has_fp8_products(x.to(kGpu), there));
  const at::Tensor want = at::linear(x.to(at::kFloat), weight);
  CHECK(test::relative_error(ops::quantised_linear(x.to(kGpu), there, {}), want) < 0.1);
  const at::Tensor scale = at::ones({1}, kGpu);
  const at::Tensor row_major = weight.to(kGpu).to(at::kFloat8_e4m3fn);
  const auto wrong = [&] { at::_scaled_mm(row_major, row_major.t().contiguous(), scale, scale); };
  CHECK(says(what_is_thrown(wrong), "column major"));
}

TEST_CASE("the product with GELU is tanh's, and the fused norm is the norm") {
  const at::Tensor a = at::randn({4, 16});
  const at::Tensor b = at::randn({16, 8});
  const at::Tensor bias = at::randn({8});
  const at::Tensor made = at::_addmm_activation(bias.to(kGpu), a.to(kGpu), b.to(kGpu), 1, 1, /*use_gelu=*/true);
  CHECK(test::relative_error(made, at::gelu(at::addmm(bias, a, b), "tanh")) < 1e-6);
  const at::Tensor weight = at::randn({16});
  const auto [normed, scale] = at::_fused_rms_norm(a.to(kGpu), {16}, weight.to(kGpu), 1e-6);
  const at::Tensor want = a * at::rsqrt(a.square().mean(-1, true) + 1e-6) * weight;
  CHECK(test::relative_error(normed, want) < 1e-6);
  CHECK((scale.scalar_type() == at::kFloat));  // doctest cannot print a ScalarType
}
