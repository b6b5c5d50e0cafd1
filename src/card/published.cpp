#include "nightreel/card/published.h"

#include <algorithm>
#include <array>

namespace nightreel::card {
namespace {

constexpr std::string_view k480p = "Wan's authors advise flow_shift 3 at 480p";

// Wan 2.2: wan/configs/wan_{t2v_A14B,i2v_A14B,ti2v_5B}.py; sample_guide_scale there is (low noise, high noise), the
// reverse of diffusers' order. Wan 2.1: generate.py's defaults; for T2V-1.3B what its README recommends.
// clang-format off
constexpr std::array<PublishedModel, 7> kModels{{
    // name, kind, experts, layers, heads, ffn, in, z, vae_spatial, image_dim,
    //   width, height, frames, fps, steps, shift, guidance high, low, boundary, shift at 480p, shake, note
    {"Wan2.2-T2V-A14B", ModelKind::t2v, 2, 40, 40, 13824, 16, 16, 8, 0,
        1280, 720, 81, 16, 40, 12.0, 4.0, 3.0, 0.875, std::nullopt, false, ""},
    {"Wan2.2-I2V-A14B", ModelKind::i2v, 2, 40, 40, 13824, 36, 16, 8, 0,
        1280, 720, 81, 16, 40, 5.0, 3.5, 3.5, 0.9, std::nullopt, false, k480p},
    {"Wan2.2-TI2V-5B", ModelKind::ti2v, 1, 30, 24, 14336, 48, 48, 16, 0,
        1280, 704, 121, 24, 50, 5.0, 5.0, std::nullopt, std::nullopt, std::nullopt, false, ""},
    {"Wan2.1-T2V-14B", ModelKind::t2v, 1, 40, 40, 13824, 16, 16, 8, 0,
        1280, 720, 81, 16, 50, 5.0, 5.0, std::nullopt, std::nullopt, std::nullopt, false, ""},
    {"Wan2.1-T2V-1.3B", ModelKind::t2v, 1, 30, 12, 8960, 16, 16, 8, 0,
        832, 480, 81, 16, 50, 8.0, 6.0, std::nullopt, std::nullopt, std::nullopt, false, "flow_shift may be 8 to 12"},
    {"Wan2.1-I2V-14B", ModelKind::i2v, 1, 40, 40, 13824, 36, 16, 8, 1280,
        1280, 720, 81, 16, 40, 5.0, 5.0, std::nullopt, std::nullopt, 3.0, true, "flow_shift is 3 at 480p"},
    {"Wan2.1-FLF2V-14B", ModelKind::flf2v, 1, 40, 40, 13824, 36, 16, 8, 1280,
        1280, 720, 81, 16, 50, 16.0, 5.0, std::nullopt, std::nullopt, std::nullopt, true, ""},
}};
// clang-format on

// What all of them share.
bool has_common_dimensions(const Card& card) {
  const auto& t = card.transformer();
  return t.attention_head_dim == 128 && t.freq_dim == 256 && t.text_dim == 4096 &&
         t.patch_size == std::array<std::int64_t, 3>{1, 2, 2} && card.vae.scale_factor_temporal == 4;
}

bool fits(const PublishedModel& model, const Card& card) {
  const auto& t = card.transformer();
  return model.kind == card.kind && model.experts == card.experts.size() && model.num_layers == t.num_layers &&
         model.num_attention_heads == t.num_attention_heads && model.ffn_dim == t.ffn_dim &&
         model.in_channels == t.in_channels && model.z_dim == card.vae.z_dim &&
         model.vae_spatial == card.vae.scale_factor_spatial && model.image_dim == t.image_dim;
}

const PublishedModel* found(const PublishedModel* model) {
  return model == kModels.end() ? nullptr : model;
}

}  // namespace

std::string_view published_negative_prompt() {
  return "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，JPEG压缩"
         "残留，"
         "丑陋的，残缺的，多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，"
         "静止不动的画面，杂乱的背景，三条腿，背景人很多，倒着走";
}

const PublishedModel* find_published(const Card& card) {
  if (!has_common_dimensions(card)) return nullptr;
  return found(std::find_if(kModels.begin(), kModels.end(), [&](const auto& model) { return fits(model, card); }));
}

const PublishedModel* find_published(std::string_view name) {
  return found(std::find_if(kModels.begin(), kModels.end(), [&](const auto& model) { return model.name == name; }));
}

}  // namespace nightreel::card
