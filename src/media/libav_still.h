// One still picture decoded by libav, as its planes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "media/libav.h"

namespace nightreel::media::av {

/// A decoded picture; its planes live as long as it does.
class Still {
 public:
  /// `name`: of libav's decoder, png or webp. Strict: what a viewer would conceal is an Error{job} with the reason.
  /// More than `max_pixels` is refused before memory is taken for them.
  Still(std::string_view bytes, const char* name, std::int64_t max_pixels);

  int width() const;
  int height() const;
  /// libav's name: rgb24, yuv420p, …
  std::string pixel_format() const;
  /// Row `y` of plane `plane`, which must exist.
  const std::uint8_t* row(int plane, int y) const;

 private:
  Owned<AVFrame> frame_;
};

}  // namespace nightreel::media::av
