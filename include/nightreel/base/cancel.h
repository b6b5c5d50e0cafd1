// A flag that one thread raises and others look at between two steps of their work.
#pragma once

#include <atomic>
#include <memory>

#include "nightreel/base/error.h"

namespace nightreel::base {

/// Copies share the flag. Any thread.
class CancelToken {
 public:
  void cancel() const { flag_->store(true, std::memory_order_relaxed); }
  bool cancelled() const { return flag_->load(std::memory_order_relaxed); }
  void throw_if_cancelled() const {
    if (cancelled()) throw Error(ErrorKind::interrupted, "cancelled");
  }

 private:
  std::shared_ptr<std::atomic<bool>> flag_ = std::make_shared<std::atomic<bool>>(false);
};

}  // namespace nightreel::base
