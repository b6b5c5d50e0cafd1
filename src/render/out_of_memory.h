// A GPU that has run out of memory twice in one job, although the second plan needed less.
//
// Plain value.
#pragma once

#include <string>
#include <utility>

#include "nightreel/base/error.h"

namespace nightreel::render {

class OutOfMemory : public base::Error {
 public:
  /// `failed`: memory::StageBytes as text, of the plans that ran out of memory so far.
  OutOfMemory(const std::string& message, std::string failed)
      : base::Error(base::ErrorKind::device_memory, message), failed_(std::move(failed)) {}
  const std::string& failed() const { return failed_; }

 private:
  std::string failed_;
};

}  // namespace nightreel::render
