// The verbs over a mailbox. Whole tensors go through the store, every rank reads what it needs: correct before fast.
#include <ATen/ATen.h>

#include <numeric>

#include "comm/checks.h"
#include "comm/mailbox.h"
#include "nightreel/base/error.h"
#include "nightreel/comm/communicator.h"

namespace nightreel::comm {
namespace {

class StoreRendezvous final : public Rendezvous {
 public:
  explicit StoreRendezvous(const std::string& interface_address) : server_(interface_address) {}
  std::string address() const override { return server_.address(); }

 private:
  StoreServer server_;
};

class Store final : public Communicator {
 public:
  Store(Seat seat, const Options& options)
      : seat_(std::move(seat)),
        options_(options),
        rank_(seat_.rank),
        size_(static_cast<int>(seat_.members.size())),
        mailbox_(seat_, options.deadline) {}
  int rank() const override { return rank_; }
  int size() const override { return size_; }

  void broadcast(at::Tensor& tensor, int root) override {
    const std::string header = checked(Verb::broadcast, tensor, root);
    if (rank_ == root) return mailbox_.exchange(header, {tensor}, {});
    at::Tensor received = at::empty_like(tensor);
    mailbox_.exchange(header, {}, {{root, 0, received}});
    tensor.copy_(received);
  }

  at::Tensor all_gather(const at::Tensor& tensor) override {
    return gathered(checked(Verb::all_gather, tensor, 0), tensor);
  }

  void all_gather_into(at::Tensor& out, const at::Tensor& tensor) override {
    const std::string header = checked(Verb::all_gather, tensor, 0);
    const std::string problem = gather_misfit(out, tensor, size_);
    if (!problem.empty()) mailbox_.refuse(problem);
    gather(header, tensor, out);
  }

  at::Tensor all_to_all(const at::Tensor& tensor) override {
    const std::string header = checked(Verb::all_to_all, tensor, 0);
    const at::Tensor source = tensor.contiguous();
    at::Tensor out = at::empty_like(source);
    const std::int64_t rows = tensor.size(0) / size_;
    std::vector<at::Tensor> pieces(static_cast<std::size_t>(size_));
    std::vector<Take> takes;
    for (int r = 0; r < size_; ++r) {
      const at::Tensor piece = source.narrow(0, r * rows, rows);
      const at::Tensor slot = out.narrow(0, r * rows, rows);
      if (r == rank_) {
        slot.copy_(piece);
        continue;
      }
      pieces[static_cast<std::size_t>(r)] = piece;
      takes.push_back({r, rank_, slot});
    }
    mailbox_.exchange(header, std::move(pieces), std::move(takes));
    return out;
  }

  at::Tensor shift(const at::Tensor& tensor, int by) override {
    const std::string header = checked(Verb::shift, tensor, by);
    const int source = around(rank_, -by, size_);
    if (source == rank_) return tensor;
    at::Tensor out = at::empty(tensor.sizes(), tensor.options());
    mailbox_.exchange(header, {tensor.contiguous()}, {{source, 0, out}});
    return out;
  }

  void all_reduce(at::Tensor& tensor) override {
    const std::string header = checked(Verb::all_reduce, tensor, 0);
    std::vector<at::Tensor> all(static_cast<std::size_t>(size_), tensor);
    std::vector<Take> takes;
    for (int r = 0; r < size_; ++r) {
      if (r == rank_) continue;
      all[static_cast<std::size_t>(r)] = at::empty_like(tensor);
      takes.push_back({r, 0, all[static_cast<std::size_t>(r)]});
    }
    mailbox_.exchange(header, {tensor}, std::move(takes));
    at::Tensor sum = all[0].clone();
    for (std::size_t r = 1; r < all.size(); ++r) sum.add_(all[r]);
    tensor.copy_(sum);
  }

  std::unique_ptr<Communicator> split(int part) override {
    const std::string problem = part_misfit(part);
    if (!problem.empty()) mailbox_.refuse(problem);
    const at::Tensor parts = gathered("split", at::full({1}, part, at::kLong));
    Seat seat{seat_.address, seat_.prefix + std::to_string(splits_++) + "." + std::to_string(part) + "/", {}, 0};
    for (int r = 0; r < size_; ++r) {
      if (parts[r].item<std::int64_t>() != part) continue;
      if (r == rank_) seat.rank = static_cast<int>(seat.members.size());
      seat.members.push_back(seat_.members[static_cast<std::size_t>(r)]);
    }
    return std::make_unique<Store>(std::move(seat), options_);
  }

  void finalize() override { mailbox_.leave(); }

 private:
  // The header of a call that this rank can make; else all ranks are told why it cannot.
  std::string checked(Verb verb, const at::Tensor& tensor, int whither) {
    const std::string problem = misfit(verb, tensor, whither, size_, at::kCPU);
    if (!problem.empty()) mailbox_.refuse(problem);
    return describe(verb, tensor, whither);
  }

  at::Tensor gathered(const std::string& header, const at::Tensor& tensor) {
    at::Tensor out = at::empty(gathered_shape(tensor, size_), tensor.options());
    gather(header, tensor, out);
    return out;
  }

  void gather(const std::string& header, const at::Tensor& tensor, const at::Tensor& out) {
    std::vector<Take> takes;
    for (int r = 0; r < size_; ++r) {
      const at::Tensor slot = out.narrow(0, r * tensor.size(0), tensor.size(0));
      if (r == rank_) slot.copy_(tensor);
      if (r != rank_) takes.push_back({r, 0, slot});
    }
    mailbox_.exchange(header, {tensor.contiguous()}, std::move(takes));
  }

  Seat seat_;
  Options options_;
  int rank_;
  int size_;
  int splits_ = 0;
  Mailbox mailbox_;
};

}  // namespace

std::unique_ptr<Rendezvous> make_store_rendezvous(const std::string& interface_address) {
  return std::make_unique<StoreRendezvous>(interface_address);
}

std::unique_ptr<Communicator> make_store(const std::string& address, int rank, int size, const Options& options) {
  if (size < 1 || rank < 0 || rank >= size) {
    throw base::Error(base::ErrorKind::comm,
                      "rank " + std::to_string(rank) + " is not one of " + std::to_string(size) + " ranks");
  }
  std::vector<int> members(static_cast<std::size_t>(size));
  std::iota(members.begin(), members.end(), 0);
  return std::make_unique<Store>(Seat{address, "", std::move(members), rank}, options);
}

}  // namespace nightreel::comm
