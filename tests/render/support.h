// What the tests of the renderer's threads share: what happened in which order, pipes and what is said on them, jobs.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "nightreel/base/file.h"
#include "nightreel/base/pipe.h"
#include "nightreel/comm/communicator.h"
#include "nightreel/protocol/message.h"

namespace nightreel::test {

/// Only what hangs comes to its end.
inline constexpr std::chrono::seconds kHang{60};

/// What happened, in order; any thread writes, any waits for what it needs.
class Diary {
 public:
  void add(const std::string& what);
  /// Until it has happened so many times. Throws std::runtime_error after kHang, with what has.
  void wait_for(const std::string& what, std::size_t times = 1) const;
  bool has(const std::string& what) const;
  /// What begins so, in order.
  std::vector<std::string> all(const std::string& beginning = "") const;

 private:
  std::size_t count(const std::string& what) const;  // under the lock
  mutable std::mutex mutex_;
  mutable std::condition_variable wake_;
  std::vector<std::string> happened_;
};

/// A pipe; either end can be closed before the object's end.
class Wire {
 public:
  Wire();
  int in() const { return in_.get(); }
  int out() const { return out_.get(); }
  void close_in() { in_ = {}; }
  void close_out() { out_ = {}; }

 private:
  base::Fd out_;
  base::Fd in_;
};

/// The events of a renderer, as they come out of its pipe. One thread.
class Heard {
 public:
  explicit Heard(int fd) : reader_(fd, protocol::kMaxLine) {}
  /// The first event, old or new, that has all of `fields`. Throws std::runtime_error where the pipe ends without one,
  /// or after kHang.
  protocol::Json wait_for(const protocol::Json& fields);
  /// Of those that have come: whether one has all of `fields`.
  bool has(const protocol::Json& fields) const;
  /// Takes all that comes until the pipe is closed; all that came.
  const std::vector<protocol::Json>& to_the_end();

 private:
  bool take();
  base::LineReader reader_;
  std::vector<protocol::Json> seen_;
};

/// A job whose prompt is its name.
protocol::RenderRequest request_for(const std::string& job, std::uint64_t token = 1);

/// To join a group over the store, and to stay in it.
protocol::GroupRequest seat_at(const std::string& address, int rank, int size);

/// `size` threads that are a group over the store: what each threw, "" for nothing, in rank order.
std::vector<std::string> in_threads(int size, const std::function<void(std::unique_ptr<comm::Communicator>)>& work);

/// What `work` threw, as "KIND: MESSAGE"; "" for nothing.
std::string thrown_text(const std::function<void()>& work);

}  // namespace nightreel::test
