// The layers of the Wan 2.1 and 2.2 VAEs (diffusers 0.42.1, models/autoencoders/autoencoder_kl_wan.py).
//
// Frames lie channels last, [T, Y, X, C] and dense: a frame is then contiguous, so that a causal convolution finds the
// frames before its own in one buffer with these, 1x1 convolutions are matrix products, and oneDNN and cuDNN need no
// reordering. Layers own their weights and are const; what they remember of earlier frames lives in the
// caller's FrameMemory, one a video and thread.
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
#include "nightreel/model/weight_visitor.h"
#include "nightreel/model/weights.h"

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

/// Fetches tensors in the model's device and dtype.
struct VaeLoader {
  WeightMap& weights;
  at::Device device;
  at::ScalarType dtype;
  at::Tensor take(const std::string& name, at::IntArrayRef shape) const {
    return weights.take(name, shape).to(device, dtype);
  }
};

/// A convolution over [T, Y, X, C].
struct Conv {
  at::Tensor weight;  // [out, in, kT, kY, kX]; channels last but for the CPU
  at::Tensor bias;
  mutable at::Tensor packed;  // see onednn.h; made at the first use

  /// `kernel` of two sizes stands for a layer that the checkpoint has as a 2-D convolution.
  static Conv load(const VaeLoader& load, const std::string& name, std::int64_t in, std::int64_t out,
                   const std::vector<std::int64_t>& kernel);
  at::Tensor operator()(const at::Tensor& x_TYXC, const std::array<std::int64_t, 3>& padding,
                        const std::array<std::int64_t, 3>& stride = {1, 1, 1}) const;
  void each_weight(const WeightVisitor& visit);

 private:
  at::Tensor by_onednn(const at::Tensor& x_1CTYX, const ConvSteps& steps) const;
};

/// A 1x1 convolution.
struct Pointwise {
  at::Tensor weight;  // [out, in]
  at::Tensor bias;

  /// `axes` is how many axes of size one the checkpoint's kernel has.
  static Pointwise load(const VaeLoader& load, const std::string& name, std::int64_t in, std::int64_t out, int axes);
  at::Tensor operator()(const at::Tensor& x) const;
  void each_weight(const WeightVisitor& visit);
};

/// WanRMS_norm: x / |x| * sqrt(C) * gamma over the channels.
struct ChannelNorm {
  at::Tensor gamma;  // times sqrt(C)

  static ChannelNorm load(const VaeLoader& load, const std::string& name, std::int64_t channels, int axes);
  at::Tensor operator()(const at::Tensor& x) const;
  /// silu(norm(x)) into `out`, of x's shape and dtype.
  void then_silu(const at::Tensor& x, at::Tensor out) const;
  void each_weight(const WeightVisitor& visit);
};

/// 3x3x3, zero padding in space, only earlier frames in time.
struct CausalConv {
  Conv conv;

  static CausalConv load(const VaeLoader& load, const std::string& name, std::int64_t in, std::int64_t out);
  at::Tensor operator()(const at::Tensor& x_TYXC, FrameMemory& memory) const;
  /// The same over silu(norm(x)).
  at::Tensor operator()(const at::Tensor& x_TYXC, const ChannelNorm& norm, FrameMemory& memory) const;
  void each_weight(const WeightVisitor& visit);

 private:
  std::int64_t in_channels() const { return conv.weight.size(1); }
  template <class Fill>
  at::Tensor run(const at::Tensor& x_TYXC, FrameMemory& memory, const Fill& fill) const;
};

struct ResidualBlock {
  ChannelNorm norm1, norm2;
  CausalConv conv1, conv2;
  std::optional<Pointwise> shortcut;

  static ResidualBlock load(const VaeLoader& load, const std::string& name, std::int64_t in, std::int64_t out);
  at::Tensor operator()(const at::Tensor& x_TYXC, FrameMemory& memory) const;
  void each_weight(const WeightVisitor& visit);
};

/// Self-attention of one head over the pixels of each whole frame.
struct AttentionBlock {
  ChannelNorm norm;
  Pointwise qkv, out;

  static AttentionBlock load(const VaeLoader& load, const std::string& name, std::int64_t channels);
  at::Tensor operator()(const at::Tensor& x_TYXC, const Bands& bands) const;
  void each_weight(const WeightVisitor& visit);
};

/// Residual, attention, residual.
struct MidBlock {
  ResidualBlock first, second;
  AttentionBlock attention;

  static MidBlock load(const VaeLoader& load, const std::string& name, std::int64_t channels);
  at::Tensor operator()(const at::Tensor& x_TYXC, FrameMemory& memory) const;
  void each_weight(const WeightVisitor& visit);
};

/// Doubles rows and columns; with time_conv it also doubles the frames, but for the first.
struct Upsample {
  Conv conv;
  std::optional<Conv> time_conv;

  static Upsample load(const VaeLoader& load, const std::string& name, std::int64_t channels, std::int64_t out,
                       bool in_time);
  at::Tensor operator()(const at::Tensor& x_TYXC, FrameMemory& memory) const;
  void each_weight(const WeightVisitor& visit);
};

/// Halves rows and columns; with time_conv also the frames, but for the first.
struct Downsample {
  Conv conv;
  std::optional<Conv> time_conv;

  static Downsample load(const VaeLoader& load, const std::string& name, std::int64_t channels, bool in_time);
  at::Tensor operator()(const at::Tensor& x_TYXC, FrameMemory& memory) const;
  void each_weight(const WeightVisitor& visit);
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
  void each_weight(const WeightVisitor& visit);
};

/// Pixels [T, Y * p, X * p, 3] as the layers see them, [T, Y, X, 3 * p * p], and back: channel, column, row.
at::Tensor to_cells(const at::Tensor& x_TYXC, std::int64_t patch);
at::Tensor from_cells(const at::Tensor& x_TYXC, std::int64_t patch);

}  // namespace nightreel::model
