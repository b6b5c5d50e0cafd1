#include "render/group.h"

#include <ATen/ATen.h>

#include "nightreel/base/error.h"

namespace nightreel::render {
namespace {

using base::Error;
using base::ErrorKind;

std::unique_ptr<comm::Communicator> join(const protocol::GroupRequest& request) {
  const comm::Options options{std::chrono::milliseconds(request.deadline_ms)};
  if (request.backend == "store") return comm::make_store(request.address, request.rank, request.size, options);
#ifdef NIGHTREEL_CUDA
  if (request.backend == "nccl") return comm::make_nccl(request.address, request.rank, request.size, options);
#endif
  throw Error(ErrorKind::comm, "this build has no communicator '" + base::printable(request.backend) + "'");
}

std::unique_ptr<comm::Rendezvous> meet(const protocol::GroupRequest& request) {
  if (request.backend == "store") {
    return comm::make_store_rendezvous(request.listen_on.empty() ? "127.0.0.1" : request.listen_on);
  }
#ifdef NIGHTREEL_CUDA
  if (request.backend == "nccl") return comm::make_nccl_rendezvous();
#endif
  throw Error(ErrorKind::comm, "this build has no communicator '" + base::printable(request.backend) + "'");
}

}  // namespace

std::unique_ptr<comm::Communicator> join_group(const protocol::GroupRequest& request) {
  auto group = join(request);
  at::Tensor sum = at::ones({1}, at::TensorOptions().device(request.backend == "nccl" ? at::kCUDA : at::kCPU));
  group->all_reduce(sum);
  const double members = sum.item<double>();
  if (members == static_cast<double>(request.size)) return group;
  throw Error(ErrorKind::comm,
              "the sum over " + std::to_string(request.size) + " renderers came out as " + std::to_string(members));
}

protocol::RendezvousEvent Groups::answer(const protocol::GroupRequest& request) {
  if (request.address.empty()) {
    rendezvous_ = meet(request);
    return {rendezvous_->address(), false};
  }
  visit(request, [](comm::Communicator&) {});
  return {request.address, true};
}

void Groups::visit(const protocol::GroupRequest& request, const std::function<void(comm::Communicator&)>& work) {
  const auto group = join_group(request);
  work(*group);
  group->finalize();
  rendezvous_.reset();
}

}  // namespace nightreel::render
