// Members of a group as processes of their own, so that one can be killed or frozen. They are forked, not executed:
// mapping LibTorch costs most of a second each. A fork copies whatever lock another thread holds at that moment, locked
// for ever; so the members are forked first, and the store, which has a thread, is started after them (Announcement).
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "nightreel/base/file.h"

namespace nightreel::test {

/// One forked process that runs `work` and hands back its text, or the text of the base::Error that it threw.
class Member {
 public:
  explicit Member(const std::function<std::string()>& work);
  Member(Member&& other) noexcept;
  Member& operator=(Member&&) = delete;
  ~Member();
  void signal(int number) const;
  /// "(no answer)" when it was killed or is late; who is late may be asked again.
  std::string outcome(std::chrono::milliseconds timeout);

 private:
  pid_t pid_ = -1;
  base::Fd out_;
  std::string text_;  // what has come of it
};

/// A text that the test process knows only after its members were forked.
class Announcement {
 public:
  Announcement();
  /// For `readers` calls of wait(), in any process. `text` has at most 64 bytes.
  void tell(const std::string& text, int readers) const;
  /// Blocks until it was told.
  std::string wait() const;

 private:
  base::Fd reader_;
  base::Fd writer_;
};

/// The outcomes of `size` members running work(rank), in rank order. `after_fork` runs in this process meanwhile.
std::vector<std::string> run_members(int size, const std::function<std::string(int)>& work,
                                     const std::function<void()>& after_fork);

}  // namespace nightreel::test
