#include "nightreel/tensorfile/formats.h"

#include <algorithm>
#include <array>
#include <filesystem>

#include "nightreel/tensorfile/pth.h"
#include "nightreel/tensorfile/safetensors.h"

namespace nightreel::tensorfile {

namespace {

constexpr std::array<Format, 2> kFormats{{
    {".safetensors", map_safetensors, safetensors_header},
    {".pth", map_pth, pth_header},
}};

}  // namespace

const Format* format_of(const std::string& path) {
  const std::string extension = std::filesystem::path(path).extension().string();
  const auto* found =
      std::find_if(kFormats.begin(), kFormats.end(), [&](const Format& one) { return one.extension == extension; });
  return found == kFormats.end() ? nullptr : found;
}

}  // namespace nightreel::tensorfile
