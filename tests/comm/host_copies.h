// A communicator for tensors of any device over one for tensors of the CPU.
#pragma once

#include <ATen/ATen.h>

#include <memory>
#include <utility>

#include "nightreel/comm/communicator.h"

namespace nightreel::test {

class HostCopies : public comm::Communicator {
 public:
  explicit HostCopies(comm::Communicator& host) : host_(host) {}
  explicit HostCopies(std::unique_ptr<comm::Communicator> owned) : owned_(std::move(owned)), host_(*owned_) {}
  int rank() const override { return host_.rank(); }
  int size() const override { return host_.size(); }
  void broadcast(at::Tensor& tensor, int root) override {
    at::Tensor copy = tensor.to(at::kCPU);
    host_.broadcast(copy, root);
    tensor.copy_(copy);
  }
  at::Tensor all_gather(const at::Tensor& tensor) override {
    return host_.all_gather(tensor.to(at::kCPU)).to(tensor.device());
  }
  void all_gather_into(at::Tensor& out, const at::Tensor& tensor) override { out.copy_(all_gather(tensor)); }
  at::Tensor all_to_all(const at::Tensor& tensor) override {
    return host_.all_to_all(tensor.to(at::kCPU)).to(tensor.device());
  }
  at::Tensor shift(const at::Tensor& tensor, int by) override {
    return host_.shift(tensor.to(at::kCPU), by).to(tensor.device());
  }
  void all_reduce(at::Tensor& tensor) override {
    at::Tensor copy = tensor.to(at::kCPU);
    host_.all_reduce(copy);
    tensor.copy_(copy);
  }
  std::unique_ptr<comm::Communicator> split(int part) override {
    return std::make_unique<HostCopies>(host_.split(part));
  }
  void finalize() override { host_.finalize(); }

 private:
  std::unique_ptr<comm::Communicator> owned_;
  comm::Communicator& host_;
};

}  // namespace nightreel::test
