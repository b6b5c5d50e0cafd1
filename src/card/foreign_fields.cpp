#include "card/foreign_fields.h"

#include <algorithm>
#include <array>
#include <utility>

namespace nightreel::card {
namespace {

/// Fields of diffusers 0.42.1's models near Wan's that the classes of configs.h lack. tests/card compares the list with
/// the classes' signatures.
constexpr std::array<std::pair<std::string_view, std::string_view>, 25> kForeign{{
    {"dim", "WanAnimate2Transformer3DModel"},
    {"face_encoder_hidden_dim", "WanAnimateTransformer3DModel"},
    {"face_encoder_num_heads", "WanAnimateTransformer3DModel"},
    {"in_dim", "WanAnimate2Transformer3DModel"},
    {"inject_face_latents_blocks", "WanAnimateTransformer3DModel"},
    {"inject_sample_info", "SkyReelsV2Transformer3DModel"},
    {"latent_channels", "WanAnimateTransformer3DModel"},
    {"motion_dim", "WanAnimateTransformer3DModel"},
    {"motion_encoder_batch_size", "WanAnimateTransformer3DModel"},
    {"motion_encoder_channel_sizes", "WanAnimateTransformer3DModel"},
    {"motion_encoder_dim", "WanAnimateTransformer3DModel"},
    {"motion_encoder_size", "WanAnimateTransformer3DModel"},
    {"motion_style_dim", "WanAnimateTransformer3DModel"},
    {"num_frame_per_block", "SkyReelsV2Transformer3DModel"},
    {"num_heads", "WanAnimate2Transformer3DModel"},
    {"out_dim", "WanAnimate2Transformer3DModel"},
    {"refer_offset_h", "WanAnimate2Transformer3DModel"},
    {"refer_offset_t", "WanAnimate2Transformer3DModel"},
    {"refer_offset_w", "WanAnimate2Transformer3DModel"},
    {"refer_stride", "WanAnimate2Transformer3DModel"},
    {"rope_temporal_skip_len", "ChronoEditTransformer3DModel"},
    {"text_len", "WanAnimate2Transformer3DModel"},
    {"use_img_emb", "WanAnimate2Transformer3DModel"},
    {"vace_in_channels", "WanVACETransformer3DModel"},
    {"vace_layers", "WanVACETransformer3DModel"},
}};

}  // namespace

std::string class_with_field(std::string_view field) {
  const auto* found =
      std::find_if(kForeign.begin(), kForeign.end(), [&](const auto& entry) { return entry.first == field; });
  return found == kForeign.end() ? std::string() : std::string(found->second);
}

}  // namespace nightreel::card
