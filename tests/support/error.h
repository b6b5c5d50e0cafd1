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

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

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

/// The message of the Error that `call` throws, which must be of `kind` and one line.
template <typename Call>
std::string error_of(base::ErrorKind kind, Call call) {
  const Thrown thrown = thrown_by(call);
  CHECK_MESSAGE((thrown.kind == kind), base::traits(thrown.kind).name, ": ", thrown.message);
  CHECK_MESSAGE(!contains(thrown.message, "\n"), thrown.message);
  return thrown.message;
}

/// What a checkpoint that cannot be used is refused with.
template <typename Call>
std::string refusal(Call call) {
  return error_of(base::ErrorKind::model, call);
}

}  // namespace nightreel::test
