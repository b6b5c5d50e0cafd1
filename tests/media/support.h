// What the tests of this layer share: a folder that goes away, and pictures.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "nightreel/base/error.h"
#include "nightreel/base/file.h"
#include "nightreel/base/random.h"
#include "nightreel/media/frames.h"
#include "support/error.h"

namespace nightreel::media::test {

using nightreel::test::contains;
using nightreel::test::error_of;

class TempFolder {
 public:
  TempFolder() : path_((std::filesystem::temp_directory_path() / ("nightreel-media-" + base::random_hex(6))).string()) {
    base::make_folders(path_);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }
  bool empty() const { return std::filesystem::is_empty(path_); }

 private:
  std::string path_;
};

inline std::string content(const std::string& path) {
  return base::read_file(path, std::size_t{1} << 30U);
}

// Removed first: some file systems flush a file that is truncated and written again, which is slow.
inline void put(const std::string& path, const std::string& bytes) {
  base::remove_file(path);
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

/// A buffer and its view.
struct Clip {
  std::vector<std::uint8_t> rgb;
  Frames view;
  Clip(std::int64_t frames, std::int64_t height, std::int64_t width,
       const std::function<std::uint8_t(std::int64_t f, std::int64_t y, std::int64_t x, int c)>& colour)
      : rgb(static_cast<std::size_t>(frames * height * width * 3)) {
    std::size_t at = 0;
    for (std::int64_t f = 0; f < frames; ++f) {
      for (std::int64_t y = 0; y < height; ++y) {
        for (std::int64_t x = 0; x < width; ++x) {
          for (int c = 0; c < 3; ++c) rgb[at++] = colour(f, y, x, c);
        }
      }
    }
    view = {frames, height, width, rgb};
  }
};

/// Colours that move, with some noise, so that the encoder has work to do.
inline Clip moving_clip(std::int64_t frames, std::int64_t height, std::int64_t width) {
  std::uint32_t state = 1;
  return {frames, height, width, [state](std::int64_t f, std::int64_t y, std::int64_t x, int c) mutable {
            state = state * 1664525U + 1013904223U;
            const std::int64_t base = c == 0 ? 4 * (x + f) : c == 1 ? 3 * (y - f) : 2 * (x + y);
            return static_cast<std::uint8_t>(((base % 224) + 224) % 224 + (state >> 28U));
          }};
}

/// True when `call` either returns or throws a base::Error of `kind`: what hostile bytes may do, short of a crash.
inline bool survives(base::ErrorKind kind, const std::function<void()>& call) {
  try {
    call();
  } catch (const base::Error& e) {
    return e.kind() == kind;
  }
  return true;
}

}  // namespace nightreel::media::test
