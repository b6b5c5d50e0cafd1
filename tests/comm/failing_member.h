// A member that ends or freezes when it is to take part in one of its gathers, so that the others are in the middle.
#pragma once

#include <csignal>

#include "comm/host_copies.h"

namespace nightreel::test {

class FailingMember final : public HostCopies {
 public:
  /// `gather`: all_gather or all_gather_into, from 0 on; below 0: it never fails.
  FailingMember(std::unique_ptr<comm::Communicator> group, int gather, int signal)
      : HostCopies(std::move(group)), gather_(gather), signal_(signal) {}
  at::Tensor all_gather(const at::Tensor& tensor) override {
    if (gather_-- == 0) ::raise(signal_);
    return HostCopies::all_gather(tensor);
  }

 private:
  int gather_;
  int signal_;
};

}  // namespace nightreel::test
