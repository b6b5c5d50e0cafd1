// Pictures of one video as plain bytes: what the pipeline hands to the writers of this layer.
//
// A view, it owns nothing; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace nightreel::media {

/// uint8 RGB, [frames, height, width, 3], contiguous, full range 0..255.
struct Frames {
  std::int64_t frames = 0;
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::span<const std::uint8_t> rgb;

  std::size_t frame_bytes() const { return static_cast<std::size_t>(height * width * 3); }
  /// Picture `index`, [height, width, 3].
  std::span<const std::uint8_t> frame(std::int64_t index) const {
    return rgb.subspan(static_cast<std::size_t>(index) * frame_bytes(), frame_bytes());
  }
};

/// Throws Error{internal} unless the sizes are positive, at most 16384 a side, and `rgb` has as many bytes as they say.
void check_frames(const Frames& frames);

}  // namespace nightreel::media
