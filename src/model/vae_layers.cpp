// T frames, Y rows, X columns, C channels; N pixels of a frame.
#include "model/vae_layers.h"

#include <ATen/ATen.h>
#include <c10/util/accumulate.h>

#include <cmath>

#include "model/onednn.h"
#include "nightreel/ops/attention.h"

namespace nightreel::model {

namespace {

/// cuDNN needs its weights like its pictures. For oneDNN they get a format of its own when they are first used; until
/// then they stay where the file is mapped, so that loading waits for no copy.
at::Tensor kernel_of(const at::Tensor& taken) {
  const at::Tensor kernel = taken.dim() == 4 ? taken.unsqueeze(2) : taken;
  return kernel.is_cpu() ? kernel : kernel.contiguous(at::MemoryFormat::ChannelsLast3d);
}

at::Tensor times_root_of_channels(const at::Tensor& gamma) {
  return gamma.flatten() * std::sqrt(static_cast<double>(gamma.numel()));
}

/// 1 / |x| over the channels, as torch.nn.functional.normalize: no less than 1e-12 is divided by.
at::Tensor inverse_length(const at::Tensor& x) {
  return at::linalg_vector_norm(x, 2, {-1}, /*keepdim=*/true).clamp_min_(1e-12).reciprocal_();
}

/// LibTorch takes oneDNN for small pictures only when it is told to, at a tenth of the speed otherwise.
bool use_onednn(const at::Tensor& x) {
  return x.is_cpu() && x.scalar_type() == at::kFloat && at::hasMKLDNN() && at::globalContext().userEnabledMkldnn();
}

}  // namespace

at::Tensor FrameMemory::window(const void* layer, const at::Tensor& x_TYXC, std::int64_t channels, std::int64_t context,
                               std::int64_t margin) {
  const std::vector<std::int64_t> shape{context + x_TYXC.size(0), x_TYXC.size(1) + 2 * margin, x_TYXC.size(2),
                                        channels};
  const std::int64_t size = c10::multiply_integers(shape);
  if (!buffer_.defined() || buffer_.numel() < size) {
    buffer_.reset();
    buffer_ = at::empty({size}, x_TYXC.options());
  }
  const at::Tensor window = buffer_.narrow(0, 0, size).view(shape);
  at::Tensor before = window.slice(0, 0, context);
  const at::Tensor& kept = kept_[layer];
  kept.defined() ? before.copy_(kept) : before.zero_();
  return window;
}

void FrameMemory::keep(const void* layer, const at::Tensor& window_TYXC, std::int64_t context) {
  const at::Tensor last = window_TYXC.slice(0, window_TYXC.size(0) - context);
  at::Tensor& kept = kept_[layer];
  if (!kept.defined()) kept = at::empty_like(last);
  kept.copy_(last);
}

void Conv::parameters(ParameterList& list, const std::string& name) {
  list.tensor(weight, name + ".weight", shape, kernel_of);
  list.tensor(bias, name + ".bias", {shape[0]});
}

at::Tensor Conv::operator()(const at::Tensor& x_TYXC, const std::array<std::int64_t, 3>& padding,
                            const std::array<std::int64_t, 3>& stride) const {
  const at::Tensor x_1CTYX = x_TYXC.permute({3, 0, 1, 2}).unsqueeze(0);
  const at::Tensor y_1CTYX =
      use_onednn(x_TYXC) ? by_onednn(x_1CTYX, {padding, stride}) : at::conv3d(x_1CTYX, weight, bias, stride, padding);
  return y_1CTYX.squeeze(0).permute({1, 2, 3, 0}).contiguous();
}

at::Tensor Conv::by_onednn(const at::Tensor& x_1CTYX, const ConvSteps& steps) const {
  if (!packed.defined()) packed = pack_onednn_weight(weight, steps, x_1CTYX.sizes());
  return onednn_convolution(x_1CTYX, packed, bias, steps);
}

void ChannelNorm::parameters(ParameterList& list, const std::string& name) {
  std::vector<std::int64_t> shape(static_cast<std::size_t>(axes) + 1, 1);
  shape[0] = channels;
  list.tensor_f32(gamma, name + ".gamma", std::move(shape), times_root_of_channels);
}

at::Tensor ChannelNorm::operator()(const at::Tensor& x) const {
  const at::Tensor x_f32 = x.to(at::kFloat);
  return at::mul(x_f32, inverse_length(x_f32)).mul_(gamma).to(x.scalar_type());
}

void ChannelNorm::then_silu(const at::Tensor& x, at::Tensor out) const {
  const at::Tensor x_f32 = x.to(at::kFloat);
  if (out.scalar_type() != at::kFloat) {
    at::Tensor normed = at::mul(x_f32, inverse_length(x_f32)).mul_(gamma);
    out.copy_(at::silu_(normed));
    return;
  }
  at::mul_out(out, x_f32, inverse_length(x_f32)).mul_(gamma);
  at::silu_(out);
}

at::Tensor CausalConv::operator()(const at::Tensor& x_TYXC, FrameMemory& memory) const {
  return run(x_TYXC, memory, [&](at::Tensor frames_TYXC) { frames_TYXC.copy_(x_TYXC); });
}

at::Tensor CausalConv::operator()(const at::Tensor& x_TYXC, const ChannelNorm& norm, FrameMemory& memory) const {
  return run(x_TYXC, memory, [&](const at::Tensor& frames_TYXC) { norm.then_silu(x_TYXC, frames_TYXC); });
}

/// What the convolution makes of the frames that `fill` writes. Of a band it sees the neighbours' rows instead of
/// zeros.
template <class Fill>
at::Tensor CausalConv::run(const at::Tensor& x_TYXC, FrameMemory& memory, const Fill& fill) const {
  const std::int64_t margin = memory.bands().shared() ? 1 : 0;
  const at::Tensor window = memory.window(this, x_TYXC, in_channels(), 2, margin);
  const at::Tensor frames_TYXC = window.slice(0, 2);
  const at::Tensor own_TYXC = frames_TYXC.narrow(1, margin, x_TYXC.size(1));
  fill(own_TYXC);
  if (margin > 0) {
    frames_TYXC.narrow(1, 0, 1).copy_(memory.bands().row_above(own_TYXC));
    frames_TYXC.narrow(1, margin + x_TYXC.size(1), 1).copy_(memory.bands().row_below(own_TYXC));
  }
  memory.keep(this, window, 2);
  return conv(window, {0, 1 - margin, 1});
}

ResidualBlock::ResidualBlock(std::int64_t in, std::int64_t out)
    : norm1{in, 3, {}}, norm2{out, 3, {}}, conv1(in, out), conv2(out, out) {
  if (in != out) shortcut.emplace();
}

void ResidualBlock::parameters(ParameterList& list, const std::string& name) {
  norm1.parameters(list, name + ".norm1");
  norm2.parameters(list, name + ".norm2");
  conv1.parameters(list, name + ".conv1");
  conv2.parameters(list, name + ".conv2");
  if (shortcut) list.convolution(*shortcut, name + ".conv_shortcut", {norm2.channels, norm1.channels, 1, 1, 1});
}

at::Tensor ResidualBlock::operator()(const at::Tensor& x_TYXC, FrameMemory& memory) const {
  at::Tensor y_TYXC = conv2(conv1(x_TYXC, norm1, memory), norm2, memory);
  return y_TYXC.add_(shortcut ? (*shortcut)(x_TYXC) : x_TYXC);
}

void AttentionBlock::parameters(ParameterList& list, const std::string& name) {
  norm.parameters(list, name + ".norm");
  list.convolution(qkv, name + ".to_qkv", {3 * norm.channels, norm.channels, 1, 1});
  list.convolution(out, name + ".proj", {norm.channels, norm.channels, 1, 1});
}

at::Tensor AttentionBlock::operator()(const at::Tensor& x_TYXC, const Bands& bands) const {
  const auto pixels = [](const at::Tensor& frames_TYXC) { return frames_TYXC.flatten(1, 2).unsqueeze(1); };
  const at::Tensor qkv_TYXC = qkv(norm(x_TYXC));
  const at::Tensor q_T1NC = pixels(qkv_TYXC.slice(3, 0, x_TYXC.size(3)));
  const std::vector<at::Tensor> kv_T1NC = pixels(bands.gather(qkv_TYXC.slice(3, x_TYXC.size(3)))).chunk(2, -1);
  const at::Tensor mixed_T1NC = ops::attention({q_T1NC, kv_T1NC[0], kv_T1NC[1]});
  return out(mixed_T1NC.reshape(x_TYXC.sizes())).add_(x_TYXC);
}

void MidBlock::parameters(ParameterList& list, const std::string& name) {
  first.parameters(list, name + ".resnets.0");
  second.parameters(list, name + ".resnets.1");
  attention.parameters(list, name + ".attentions.0");
}

at::Tensor MidBlock::operator()(const at::Tensor& x_TYXC, FrameMemory& memory) const {
  return second(attention(first(x_TYXC, memory), memory.bands()), memory);
}

Upsample::Upsample(std::int64_t channels, std::int64_t out, bool in_time) : conv{{out, channels, 3, 3}, {}, {}, {}} {
  if (in_time) time_conv = Conv{{2 * channels, channels, 3, 1, 1}, {}, {}, {}};
}

void Upsample::parameters(ParameterList& list, const std::string& name) {
  conv.parameters(list, name + ".resample.1");
  if (time_conv) time_conv->parameters(list, name + ".time_conv");
}

at::Tensor Upsample::operator()(const at::Tensor& x_TYXC, FrameMemory& memory) const {
  const std::int64_t channels = x_TYXC.size(3);
  at::Tensor frames_TRYXC = x_TYXC.unsqueeze(1);  // R frames out of each: 1 or 2
  if (time_conv && !memory.in_first_piece()) {    // the first latent frame is one frame, and unseen by later ones
    const at::Tensor window = memory.window(&*time_conv, x_TYXC, channels, 2);
    window.slice(0, 2).copy_(x_TYXC);
    memory.keep(&*time_conv, window, 2);
    frames_TRYXC = (*time_conv)(window, {0, 0, 0}).unflatten(3, {2, channels}).permute({0, 3, 1, 2, 4});
  }
  const std::int64_t t = frames_TRYXC.size(0);
  const std::int64_t r = frames_TRYXC.size(1);
  const std::int64_t y = frames_TRYXC.size(2);
  const std::int64_t x = frames_TRYXC.size(3);
  const at::Tensor doubled_TYXC = frames_TRYXC.unsqueeze(3)
                                      .unsqueeze(5)
                                      .expand({t, r, y, 2, x, 2, channels})
                                      .reshape({t * r, 2 * y, 2 * x, channels});
  const Bands& bands = memory.bands();
  if (!bands.shared()) return conv(doubled_TYXC, {0, 1, 1});
  return conv(at::cat({bands.row_above(doubled_TYXC), doubled_TYXC, bands.row_below(doubled_TYXC)}, 1), {0, 0, 1});
}

Downsample::Downsample(std::int64_t channels, bool in_time) : conv{{channels, channels, 3, 3}, {}, {}, {}} {
  if (in_time) time_conv = Conv{{channels, channels, 3, 1, 1}, {}, {}, {}};
}

void Downsample::parameters(ParameterList& list, const std::string& name) {
  conv.parameters(list, name + ".resample.1");
  if (time_conv) time_conv->parameters(list, name + ".time_conv");
}

at::Tensor Downsample::operator()(const at::Tensor& x_TYXC, FrameMemory& memory) const {
  const Bands& bands = memory.bands();
  const at::Tensor padded_TYXC = bands.shared()
                                     ? at::constant_pad_nd(at::cat({x_TYXC, bands.row_below(x_TYXC)}, 1), {0, 0, 0, 1})
                                     : at::constant_pad_nd(x_TYXC, {0, 0, 0, 1, 0, 1});
  at::Tensor halved_TYXC = conv(padded_TYXC, {0, 0, 0}, {1, 2, 2});
  if (!time_conv) return halved_TYXC;
  const at::Tensor window = memory.window(&*time_conv, halved_TYXC, halved_TYXC.size(3), 1);
  window.slice(0, 1).copy_(halved_TYXC);
  memory.keep(&*time_conv, window, 1);
  return memory.in_first_piece() ? halved_TYXC : (*time_conv)(window, {0, 0, 0}, {2, 1, 1});
}

at::Tensor AverageDown::operator()(const at::Tensor& x_TYXC) const {
  const std::int64_t time = in_time ? 2 : 1;
  const std::int64_t side = in_space ? 2 : 1;
  const std::int64_t missing = (time - x_TYXC.size(0) % time) % time;
  const at::Tensor padded_TYXC = at::constant_pad_nd(x_TYXC, {0, 0, 0, 0, 0, 0, missing, 0});
  return padded_TYXC.unflatten(0, {-1, time})
      .unflatten(2, {-1, side})
      .unflatten(4, {-1, side})
      .permute({0, 2, 4, 6, 1, 3, 5})
      .flatten(3)
      .unflatten(3, {out, -1})
      .mean(-1);
}

at::Tensor RepeatUp::operator()(const at::Tensor& x_TYXC, const FrameMemory& memory) const {
  const std::int64_t time = in_time ? 2 : 1;
  const at::Tensor dealt_TRYBXAC = x_TYXC.repeat_interleave(out * time * 4 / x_TYXC.size(3), 3)
                                       .unflatten(3, {out, time, 2, 2})
                                       .permute({0, 4, 1, 5, 2, 6, 3});
  const at::Tensor up_TYXC = dealt_TRYBXAC.reshape({-1, 2 * x_TYXC.size(1), 2 * x_TYXC.size(2), out});
  return memory.in_first_piece() ? up_TYXC.slice(0, time - 1) : up_TYXC;
}

at::Tensor ResidualDown::operator()(const at::Tensor& x_TYXC, FrameMemory& memory) const {
  at::Tensor y_TYXC = x_TYXC;
  for (const ResidualBlock& resnet : resnets) y_TYXC = resnet(y_TYXC, memory);
  if (down) y_TYXC = (*down)(y_TYXC, memory);
  return y_TYXC + shortcut(x_TYXC);
}

void ResidualDown::parameters(ParameterList& list, const std::string& name) {
  for (std::size_t i = 0; i < resnets.size(); ++i) {
    resnets[i].parameters(list, name + ".resnets." + std::to_string(i));
  }
  if (down) down->parameters(list, name + ".downsampler");
}

at::Tensor to_cells(const at::Tensor& x_TYXC, std::int64_t patch) {
  if (patch == 1) return x_TYXC;
  return x_TYXC.unflatten(1, {-1, patch}).unflatten(3, {-1, patch}).permute({0, 1, 3, 5, 4, 2}).flatten(3);
}

at::Tensor from_cells(const at::Tensor& x_TYXC, std::int64_t patch) {
  if (patch == 1) return x_TYXC;
  return x_TYXC.unflatten(3, {-1, patch, patch}).permute({0, 1, 5, 2, 4, 3}).flatten(3, 4).flatten(1, 2);
}

}  // namespace nightreel::model
