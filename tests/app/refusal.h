// What every refusal of the program looks like. Test code of the app layer.
#pragma once

#include <doctest/doctest.h>

#include "app/program.h"
#include "support/error.h"

namespace nightreel::test {

/// The code, nothing on stdout, and one line on stderr that says all the parts.
inline void check_refused(const Ended& ended, int code, const std::vector<std::string>& parts) {
  INFO(ended.said());
  CHECK(ended.code == code);
  CHECK(ended.out.empty());
  CHECK(ended.log.rfind("nightreel: ", 0) == 0);
  CHECK(ended.lines() == 1);
  for (const auto& part : parts) CHECK_MESSAGE(contains(ended.log, part), part);
}

}  // namespace nightreel::test
