// Sizes as errors tell them: "1x16x21x60x104".
#pragma once

#include <c10/util/ArrayRef.h>

#include <cstdint>
#include <string>

namespace nightreel::model {

inline std::string sizes_text(c10::ArrayRef<std::int64_t> sizes) {
  std::string text;
  for (const std::int64_t size : sizes) text += (text.empty() ? "" : "x") + std::to_string(size);
  return text;
}

}  // namespace nightreel::model
