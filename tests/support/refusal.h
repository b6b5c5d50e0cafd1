// What a checkpoint that cannot be used is refused with.
#pragma once

#include <doctest/doctest.h>

#include <string>

#include "support/error.h"

namespace nightreel::test {

/// The message of the Error{model} that `call` throws, which must be one line.
template <class Call>
std::string refusal(Call call) {
  const Thrown thrown = thrown_by(call);
  CHECK(thrown.kind == base::ErrorKind::model);
  CHECK_FALSE(contains(thrown.message, "\n"));
  return thrown.message;
}

}  // namespace nightreel::test
