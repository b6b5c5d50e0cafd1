// A queue between two threads that can be closed: what is in it then is still taken. Any thread.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>

namespace nightreel::render {

template <typename Item>
class Handover {
 public:
  void put(Item item) {
    const std::lock_guard lock(mutex_);
    items_.push_back(std::move(item));
    wake_.notify_all();
  }
  /// Waits for one; nothing where it is closed and empty.
  std::optional<Item> take() {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [&] { return closed_ || !items_.empty(); });
    return take_out(items_.begin());
  }
  /// The first, if there is one now and `wanted` says yes to it.
  template <typename Wanted>
  std::optional<Item> take_now(const Wanted& wanted) {
    const std::lock_guard lock(mutex_);
    if (items_.empty() || !wanted(items_.front())) return std::nullopt;
    return take_out(items_.begin());
  }
  /// The first that `wanted` says yes to, wherever it is; nothing where none comes in time, or it is closed.
  template <typename Wanted>
  std::optional<Item> take_wanted(const Wanted& wanted, std::chrono::milliseconds limit) {
    std::unique_lock lock(mutex_);
    const auto find = [&] { return std::find_if(items_.begin(), items_.end(), wanted); };
    wake_.wait_for(lock, limit, [&] { return closed_ || find() != items_.end(); });
    return take_out(find());
  }
  void close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    wake_.notify_all();
  }
  bool closed() const {
    const std::lock_guard lock(mutex_);
    return closed_;
  }
  /// Until there is something to take, or it is closed, or the time is over.
  void wait_for_any(std::chrono::milliseconds limit) {
    std::unique_lock lock(mutex_);
    wake_.wait_for(lock, limit, [&] { return closed_ || !items_.empty(); });
  }
  /// Until it is closed or the time is over; whether it is closed.
  bool wait_closed(std::chrono::milliseconds limit) {
    std::unique_lock lock(mutex_);
    return wake_.wait_for(lock, limit, [&] { return closed_; });
  }
  /// Waits while there is anything that nobody has taken (decoded videos are large); false: the time is over.
  bool wait_empty(std::chrono::milliseconds limit) {
    std::unique_lock lock(mutex_);
    return wake_.wait_for(lock, limit, [&] { return closed_ || items_.empty(); });
  }

 private:
  // Under the lock.
  std::optional<Item> take_out(typename std::deque<Item>::iterator at) {
    if (at == items_.end()) return std::nullopt;
    Item item = std::move(*at);
    items_.erase(at);
    wake_.notify_all();
    return item;
  }

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Item> items_;
  bool closed_ = false;
};

}  // namespace nightreel::render
