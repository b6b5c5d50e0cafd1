// How many operations a unit of work has by a model's dimensions: matrix products, attention and convolutions, a
// multiplication and an addition counted as two.
//
// What a program saves is not taken off (equal rows folded, work shared by two prompts), nor is what is done element by
// element counted: the figure is the model's, by which programs and machines can be compared. Pure functions.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "nightreel/card/configs.h"

namespace nightreel::bench {

/// Tokens of latents of [frames, rows, columns].
std::int64_t tokens_of(const card::TransformerConfig& config, const std::array<std::int64_t, 3>& latents);

/// One pass over `tokens` tokens for one prompt of 512 rows. Nothing for a model that an image encoder tells about
/// pictures.
std::optional<double> pass_operations(const card::TransformerConfig& config, std::int64_t tokens);

/// A prompt of `tokens` tokens through the text encoder.
double text_operations(const card::Umt5Config& config, std::int64_t tokens);

/// Latents of [frames, rows, columns] to pixels, whole or in model::Tiling's tiles.
double decode_operations(const card::VaeConfig& config, const std::array<std::int64_t, 3>& latents, bool tiled);

}  // namespace nightreel::bench
