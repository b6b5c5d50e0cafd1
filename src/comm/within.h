// A blocking call that is given up after a while.
#pragma once

#include <chrono>
#include <functional>
#include <future>
#include <string>
#include <thread>

#include "nightreel/base/error.h"

namespace nightreel::comm {

/// Runs `work` on a thread of its own and waits at most `limit` for it; then throws Error{comm, late}. The thread is
/// then left behind with all that `work` holds, which must therefore own everything it touches: c10d's client offers
/// no way to take it out of a read from a server that is frozen. It ends with the connection.
template <typename T>
T run_within(std::chrono::milliseconds limit, const std::string& late, std::function<T()> work) {
  std::packaged_task<T()> task(std::move(work));
  std::future<T> result = task.get_future();
  std::thread thread(std::move(task));
  if (result.wait_for(limit) != std::future_status::ready) {
    thread.detach();
    throw base::Error(base::ErrorKind::comm, late);
  }
  thread.join();
  return result.get();
}

}  // namespace nightreel::comm
