// What a call throws, so that a test can look at kind and message together.
#pragma once

#include <doctest/doctest.h>

#include <string>

#include "nightreel/base/error.h"

namespace nightreel::test {

struct Thrown {
  base::ErrorKind kind;
  std::string message;
};

/// Runs `call`, which must throw a base::Error; anything else fails the test.
template <typename Call>
Thrown thrown_by(Call call) {
  try {
    call();
  } catch (const base::Error& e) {
    return {e.kind(), e.what()};
  }
  FAIL("nothing was thrown");
  return {base::ErrorKind::internal, ""};
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace nightreel::test
