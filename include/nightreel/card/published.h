// The published Wan models: their dimensions, by which a checkpoint is recognised, and their published settings.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "nightreel/card/card.h"

namespace nightreel::card {

struct PublishedModel {
  std::string_view name;
  // dimensions
  ModelKind kind;
  std::size_t experts;
  std::int64_t num_layers;
  std::int64_t num_attention_heads;
  std::int64_t ffn_dim;
  std::int64_t in_channels;
  std::int64_t z_dim;
  std::int64_t vae_spatial;
  std::int64_t image_dim;
  // settings
  std::int64_t width;
  std::int64_t height;
  std::int64_t num_frames;
  double fps;
  std::int64_t num_inference_steps;
  double flow_shift;
  double guidance_scale;                   // of the high-noise expert
  std::optional<double> guidance_scale_2;  // of the low-noise expert
  std::optional<double> boundary_ratio;
  std::optional<double> flow_shift_480p;  // where the size is 480x832 or 832x480
  bool shake_in_negative;                 // "镜头晃动，" (camera shake) stands before the negative prompt
  std::string_view note;                  // what their documentation adds
};

/// Wan's sample_neg_prompt (wan/configs/shared_config.py).
std::string_view published_negative_prompt();

/// The one with exactly these dimensions, or null.
const PublishedModel* find_published(const Card& card);
/// By name, or null.
const PublishedModel* find_published(std::string_view name);

}  // namespace nightreel::card
