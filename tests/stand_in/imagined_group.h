// A group of which this process is the first member and the others are imagined: shapes and small facts are right, and
// what a member would send is counted.
#pragma once

#include <ATen/ATen.h>

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "nightreel/comm/communicator.h"

namespace nightreel::stand_in {

/// Calls and bytes that this member sends, by verb. One thread.
using Sent = std::map<std::string, std::pair<long, std::uint64_t>>;

class ImaginedGroup final : public comm::Communicator {
 public:
  ImaginedGroup(int size, Sent& sent) : size_(size), sent_(sent) {}

  int rank() const override { return 0; }
  int size() const override { return size_; }

  void broadcast(at::Tensor& tensor, int) override { send("broadcast", tensor.nbytes()); }

  at::Tensor all_gather(const at::Tensor& tensor) override {
    std::vector<std::int64_t> shape = tensor.sizes().vec();
    shape[0] *= size_;
    at::Tensor out = at::empty(shape, tensor.options());
    all_gather_into(out, tensor);
    return out;
  }

  // Everybody is told what this member says: facts that all must agree on agree.
  void all_gather_into(at::Tensor& out, const at::Tensor& tensor) override {
    send("all_gather", tensor.nbytes() * static_cast<std::uint64_t>(size_ - 1));
    const at::Tensor mine = tensor.contiguous();
    constexpr std::size_t kFacts = 1 << 16;
    if (mine.nbytes() > kFacts) return;
    for (int r = 0; r < size_; ++r) out.narrow(0, r * mine.size(0), mine.size(0)).copy_(mine);
  }

  at::Tensor all_to_all(const at::Tensor& tensor) override {
    const auto members = static_cast<std::uint64_t>(size_);
    send("all_to_all", tensor.nbytes() / members * (members - 1));
    return at::empty_like(tensor.contiguous());
  }

  at::Tensor shift(const at::Tensor& tensor, int) override {
    send("shift", tensor.nbytes());
    return at::empty_like(tensor.contiguous());
  }

  void all_reduce(at::Tensor& tensor) override { send("all_reduce", tensor.nbytes()); }

  // In the order in which a pipeline cuts an even group up: the halves for guidance, then the pairs across them.
  std::unique_ptr<comm::Communicator> split(int) override {
    const int part = splits_++ == 0 ? size_ / 2 : 2;
    return std::make_unique<ImaginedGroup>(part, sent_);
  }

  void finalize() override {}

 private:
  void send(const char* verb, std::uint64_t bytes) {
    auto& [calls, all] = sent_[verb];
    ++calls;
    all += bytes;
  }

  int size_;
  int splits_ = 0;
  Sent& sent_;
};

}  // namespace nightreel::stand_in
