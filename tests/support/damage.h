// A checkpoint's file, damaged in every small way.
#pragma once

#include <doctest/doctest.h>

#include <string>

#include "nightreel/base/error.h"

namespace nightreel::test {

/// `use` opens and uses a file of the given content. It must take `good`, refuse every proper prefix of it, and take or
/// refuse it with any one byte changed. What it refuses with is an Error{model}.
template <class Use>
void damage_everywhere(const std::string& good, Use use) {
  const auto taken = [&](const std::string& content) {
    try {
      use(content);
      return true;
    } catch (const base::Error& error) {
      CHECK(error.kind() == base::ErrorKind::model);
      return false;
    }
  };
  CHECK(taken(good));
  std::size_t refused = 0;
  for (std::size_t size = 0; size < good.size(); ++size) CHECK_FALSE(taken(good.substr(0, size)));
  for (std::size_t i = 0; i < good.size(); ++i) {
    for (const char flip : {'\x01', '\x10', '\x80', '\xff'}) {
      std::string changed = good;
      changed[i] = static_cast<char>(changed[i] ^ flip);
      refused += taken(changed) ? 0 : 1;
    }
  }
  CHECK(refused > good.size());  // most bytes mean something
  CHECK(refused < 4 * good.size());
}

}  // namespace nightreel::test
