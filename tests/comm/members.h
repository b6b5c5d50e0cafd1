// Members of a group as processes of their own, so that one can be killed or frozen. They are forked, not executed:
// mapping LibTorch costs most of a second each. The test process must therefore start no threads of LibTorch's.
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
  /// "(no answer)" when it was killed or is late.
  std::string outcome(std::chrono::milliseconds timeout);

 private:
  pid_t pid_ = -1;
  base::Fd out_;
};

/// The outcomes of `size` members running work(rank), in rank order.
std::vector<std::string> run_members(int size, const std::function<std::string(int)>& work);

}  // namespace nightreel::test
