#include "comm/checks.h"
#include "nightreel/base/error.h"
#include "nightreel/comm/communicator.h"

namespace nightreel::comm {
namespace {

class Single final : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  void broadcast(at::Tensor& tensor, int root) override { check(Verb::broadcast, tensor, root); }
  at::Tensor all_gather(const at::Tensor& tensor) override { return check(Verb::all_gather, tensor, 0); }
  void all_gather_into(at::Tensor& out, const at::Tensor& tensor) override {
    check(Verb::all_gather, tensor, 0);
    const std::string problem = gather_misfit(out, tensor, 1);
    if (!problem.empty()) throw base::Error(base::ErrorKind::comm, problem);
    out.copy_(tensor);
  }
  at::Tensor all_to_all(const at::Tensor& tensor) override { return check(Verb::all_to_all, tensor, 0); }
  at::Tensor shift(const at::Tensor& tensor, int by) override { return check(Verb::shift, tensor, by); }
  void all_reduce(at::Tensor& tensor) override { check(Verb::all_reduce, tensor, 0); }
  std::unique_ptr<Communicator> split(int part) override {
    const std::string problem = part_misfit(part);
    if (!problem.empty()) throw base::Error(base::ErrorKind::comm, problem);
    return make_single();
  }
  void finalize() override {}

 private:
  // Alone as in a group: what would fail there fails here.
  static at::Tensor check(Verb verb, const at::Tensor& tensor, int whither) {
    const at::DeviceType device = tensor.defined() ? tensor.device().type() : at::kCPU;
    const std::string problem = misfit(verb, tensor, whither, 1, device);
    if (!problem.empty()) throw base::Error(base::ErrorKind::comm, problem);
    return tensor;
  }
};

}  // namespace

std::unique_ptr<Communicator> make_single() {
  return std::make_unique<Single>();
}

}  // namespace nightreel::comm
