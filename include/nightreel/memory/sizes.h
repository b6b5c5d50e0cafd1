// Sizes of the pieces in which modules work where the whole would take too much memory: a plan counts with them, and
// the modules take them from here.
#pragma once

#include <cstdint>

namespace nightreel::memory {

/// Pictures are coded in overlapping tiles of so many pixels' side; neighbours are blended over side - stride.
/// diffusers 0.42.1, AutoencoderKLWan (models/autoencoders/autoencoder_kl_wan.py).
inline constexpr std::int64_t kTileSide = 256;
inline constexpr std::int64_t kTileStride = 192;

/// Frames of pixels that a VAE codes at a time, after the first: those of one latent frame.
inline constexpr std::int64_t kFramesAPiece = 4;

/// Encoded prompts that are kept for videos to come.
inline constexpr std::int64_t kCachedPrompts = 16;

/// Numbers of a layer's input that are rounded to fp8 at a time, each of which takes kQuantisedBytes beside its own
/// two: all of a long video's would be gigabytes.
inline constexpr std::int64_t kQuantisedPiece = 1 << 24;
inline constexpr std::int64_t kQuantisedBytes = 11;

}  // namespace nightreel::memory
