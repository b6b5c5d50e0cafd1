// N members; P elements that a member sends to each member, or to all of them.
#include "render/transfers.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "nightreel/base/clock.h"
#include "nightreel/base/error.h"

namespace nightreel::render {
namespace {

// Whole numbers below 251 are exact in bfloat16, and 251 is a prime: pieces that are swapped, shifted or cut at a power
// of two do not look alike.
constexpr std::int64_t kPrime = 251;

// What `from` sends to `to`: every pair's numbers begin elsewhere.
at::Tensor piece_P(const at::Tensor& counting_P, std::int64_t from, std::int64_t to) {
  return (counting_P + (from * 17 + to * 101)).remainder(kPrime).to(at::kBFloat16);
}

class Exchange {
 public:
  Exchange(comm::Communicator& group, at::Device device, const protocol::Transfer& transfer)
      : group_(group), to_all_(transfer.verb == "all_gather") {
    const std::int64_t pieces = to_all_ ? 1 : group.size();
    if (transfer.elements % pieces != 0) {
      throw base::Error(base::ErrorKind::usage, base::printable(transfer.name) + ": " +
                                                    std::to_string(transfer.elements) +
                                                    " elements do not divide among " + std::to_string(pieces));
    }
    const at::Tensor counting_P =
        at::arange(transfer.elements / pieces, at::TensorOptions().dtype(at::kInt).device(device));
    for (std::int64_t other = 0; other < group.size(); ++other) {
      if (!to_all_ || other == 0) sent_.push_back(piece_P(counting_P, group.rank(), to_all_ ? 0 : other));
      expected_.push_back(piece_P(counting_P, other, to_all_ ? 0 : group.rank()));
    }
    mine_ = at::cat(sent_);
    sent_.clear();
  }

  void run() { got_ = to_all_ ? group_.all_gather(mine_) : group_.all_to_all(mine_); }

  // Piece by piece: the whole expectation at once would double the memory.
  bool correct() const {
    const std::int64_t each = expected_.front().numel();
    bool right = got_.numel() == each * static_cast<std::int64_t>(expected_.size());
    for (std::size_t i = 0; right && i < expected_.size(); ++i) {
      right = at::equal(got_.narrow(0, static_cast<std::int64_t>(i) * each, each), expected_[i]);
    }
    return right;
  }

  std::uint64_t bytes() const { return mine_.nbytes(); }

 private:
  comm::Communicator& group_;
  bool to_all_;
  std::vector<at::Tensor> sent_;
  at::Tensor mine_;
  at::Tensor got_;
  std::vector<at::Tensor> expected_;
};

}  // namespace

std::vector<protocol::TransferResult> measure_transfers(comm::Communicator& group, at::Device device,
                                                        const std::vector<protocol::Transfer>& transfers, int repeats) {
  std::vector<protocol::TransferResult> results;
  for (const auto& transfer : transfers) {
    Exchange exchange(group, device, transfer);
    exchange.run();
    bool correct = exchange.correct();
    std::vector<double> seconds;
    for (int i = 0; i < repeats; ++i) {
      at::Tensor together = at::zeros({1}, at::TensorOptions().device(device));
      group.all_reduce(together);  // a member that is late would be measured as slow
      const base::Stopwatch watch;
      exchange.run();
      seconds.push_back(watch.seconds());
      correct = correct && exchange.correct();
    }
    const auto middle = seconds.begin() + static_cast<std::ptrdiff_t>(seconds.size() / 2);
    std::nth_element(seconds.begin(), middle, seconds.end());
    results.push_back({transfer.name, transfer.verb, exchange.bytes(), *middle, correct});
  }
  return results;
}

}  // namespace nightreel::render
