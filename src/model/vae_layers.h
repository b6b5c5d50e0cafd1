// The layers of the Wan 2.1 and 2.2 VAEs (diffusers 0.42.1, models/autoencoders/autoencoder_kl_wan.py).
//
// Frames lie channels last, [T, Y, X, C] and dense: a frame is then contiguous, so that a causal convolution finds the
// frames before its own in one buffer with these, 1x1 convolutions are matrix products, and oneDNN and cuDNN need no
// reordering. Layers own their weights, which parameters() names, and are const; what they remember of earlier frames
// lives in the caller's FrameMemory, one a video and thread.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "model/onednn.h"
#include "model/vae_bands.h"
#include "nightreel/model/linear.h"
#include "nightreel/model/parameter.h"

namespace nightreel::model {

/// The last frames that each causal convolution has seen of one video. Frames before the first are zero. Where a group
/// shares the video, the frames are this rank's band of rows (vae_bands.h).
class FrameMemory {
 public:
  FrameMemory() = default;
  explicit FrameMemory(Bands bands) : bands_(std::move(bands)) {}
  const Bands& bands() const { return bands_; }

  /// A buffer [context + frames, Y, X, C] like `x_TYXC`'s frames with `margin` rows more above and below: first the
  /// `context` frames that `layer` saw last, then room for the new ones, which the caller fills. All layers share it:
  /// valid until the next call.
  at::Tensor window(const void* layer, const at::Tensor& x_TYXC, std::int64_t channels, std::int64_t context,
                    std::int64_t margin = 0);
  /// The last `context` frames of a window that has been filled are those that `layer` saw last.
  void keep(const void* layer, const at::Tensor& window_TYXC, std::int64_t context);

  bool in_first_piece() const { return first_; }
  void end_piece() { first_ = false; }

 private:
  Bands bands_;
  std::unordered_map<const void*, at::Tensor> kept_;  // by layer: two frames, or one
  at::Tensor buffer_;                                 // as large as the largest window so far
  bool first_ = true;
};

/// A convolution over [T, Y, X, C].
struct Conv {
  std::vector<std::int64_t> shape;  // as stored: out, in, kernel; one of two sizes is a 2-D convolution
  at::Tensor weight;                // [out, in, kT, kY, kX]; channels last but for the CPU
  at::Tensor bias;
  mutable at::Tensor packed;  // see onednn.h; made at the first use

  at::Tensor operator()(const at::Tensor& x_TYXC, const std::array<std::int64_t, 3>& padding,
                        const std::array<std::int64_t, 3>& stride = {1, 1, 1}) const;
  void parameters(ParameterList& list, const std::string& name);

 private:
  at::Tensor by_onednn(const at::Tensor& x_1CTYX, const ConvSteps& steps) const;
};

/// WanRMS_norm: x / |x| * sqrt(C) * gamma over the channels.
struct ChannelNorm {
  std::int64_t channels = 0;
  int axes = 3;      // of size one, that the checkpoint has behind them
  at::Tensor gamma;  // times sqrt(C)

  at::Tensor operator()(const at::Tensor& x) const;
  /// silu(norm(x)) into `out`, of x's shape and dtype.
  void then_silu(const at::Tensor& x, at::Tensor out) const;
  void parameters(ParameterList& list, const std::string& name);
};

/// 3x3x3, zero padding in space, only earlier frames in time.
struct CausalConv {
  Conv conv;

  CausalConv() = default;
  CausalConv(std::int64_t in, std::int64_t out) : conv{{out, in, 3, 3, 3}, {}, {}, {}} {}
  at::Tensor operator()(const at::Tensor& x_TYXC, FrameMemory& memory) const;
  /// The same over silu(norm(x)).
  at::Tensor operator()(const at::Tensor& x_TYXC, const ChannelNorm& norm, FrameMemory& memory) const;
  void parameters(ParameterList& list, const std::string& name) { conv.parameters(list, name); }

 private:
  std::int64_t in_channels() const { return conv.shape[1]; }
  template <class Fill>
  at::Tensor run(const at::Tensor& x_TYXC, FrameMemory& memory, const Fill& fill) const;
};

struct ResidualBlock {
  ChannelNorm norm1, norm2;
  CausalConv conv1, conv2;
  std::optional<Linear> shortcut;

  ResidualBlock() = default;
  ResidualBlock(std::int64_t in, std::int64_t out);
  at::Tensor operator()(const at::Tensor& x_TYXC, FrameMemory& memory) const;
  void parameters(ParameterList& list, const std::string& name);
};

/// Self-attention of one head over the pixels of each whole frame.
struct AttentionBlock {
  ChannelNorm norm;
  Linear qkv, out;

  AttentionBlock() = default;
  explicit AttentionBlock(std::int64_t channels) : norm{channels, 2, {}} {}
  at::Tensor operator()(const at::Tensor& x_TYXC, const Bands& bands) const;
  void parameters(ParameterList& list, const std::string& name);
};

/// Residual, attention, residual.
struct MidBlock {
  ResidualBlock first, second;
  AttentionBlock attention;

  MidBlock() = default;
  explicit MidBlock(std::int64_t channels)
      : first(channels, channels), second(channels, channels), attention(channels) {}
  at::Tensor operator()(const at::Tensor& x_TYXC, FrameMemory& memory) const;
  void parameters(ParameterList& list, const std::string& name);
};

/// Doubles rows and columns; with time_conv it also doubles the frames, but for the first.
struct Upsample {
  Conv conv;
  std::optional<Conv> time_conv;

  Upsample(std::int64_t channels, std::int64_t out, bool in_time);
  at::Tensor operator()(const at::Tensor& x_TYXC, FrameMemory& memory) const;
  void parameters(ParameterList& list, const std::string& name);
};

/// Halves rows and columns; with time_conv also the frames, but for the first.
struct Downsample {
  Conv conv;
  std::optional<Conv> time_conv;

  Downsample(std::int64_t channels, bool in_time);
  at::Tensor operator()(const at::Tensor& x_TYXC, FrameMemory& memory) const;
  void parameters(ParameterList& list, const std::string& name);
};

/// The shortcut around a stage that halves rows and columns, and the frames with `in_time`: the means of groups of what
/// a cell's pixels hold (diffusers' AvgDown3D). Of an odd number of frames the first stands behind a frame of zeros.
struct AverageDown {
  std::int64_t out = 0;
  bool in_space = false;
  bool in_time = false;
  at::Tensor operator()(const at::Tensor& x_TYXC) const;
};

/// The shortcut around a stage that doubles rows and columns, and the frames with `in_time`: channels repeated and
/// dealt out over the new pixels (diffusers' DupUp3D). The video's first frame stays one.
struct RepeatUp {
  std::int64_t out = 0;
  bool in_time = false;
  at::Tensor operator()(const at::Tensor& x_TYXC, const FrameMemory& memory) const;
};

/// A stage of the Wan 2.2 encoder (diffusers' WanResidualDownBlock).
struct ResidualDown {
  std::vector<ResidualBlock> resnets;
  std::optional<Downsample> down;
  AverageDown shortcut;
  at::Tensor operator()(const at::Tensor& x_TYXC, FrameMemory& memory) const;
  void parameters(ParameterList& list, const std::string& name);
};

/// Pixels [T, Y * p, X * p, 3] as the layers see them, [T, Y, X, 3 * p * p], and back: channel, column, row.
at::Tensor to_cells(const at::Tensor& x_TYXC, std::int64_t patch);
at::Tensor from_cells(const at::Tensor& x_TYXC, std::int64_t patch);

}  // namespace nightreel::model
