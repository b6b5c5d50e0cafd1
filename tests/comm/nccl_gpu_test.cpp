// NCCL on this machine's GPUs, a thread each. Skipped, with the reason, where there is none.
#define DOCTEST_CONFIG_IMPLEMENT
#include <ATen/ATen.h>
#include <cuda_runtime_api.h>
#include <doctest/doctest.h>

#include <cstdio>
#include <future>

#include "nightreel/base/clock.h"
#include "nightreel/base/error.h"
#include "nightreel/comm/communicator.h"

namespace comm = nightreel::comm;

namespace {

int gpus() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

at::Tensor shard(int rank) {
  return (at::arange(24, at::TensorOptions().dtype(at::kFloat)) + 100 * rank)
      .reshape({24, 1})
      .to(at::Device(at::kCUDA, static_cast<at::DeviceIndex>(rank)));
}

std::string wrong_verbs(const std::string& address, int rank, int size) {
  cudaSetDevice(rank);
  const auto group = comm::make_nccl(address, rank, size, {std::chrono::seconds(60)});
  std::vector<at::Tensor> all;
  for (int r = 0; r < size; ++r) all.push_back(shard(r).cpu());
  std::string wrong;
  at::Tensor tensor = shard(rank);
  group->broadcast(tensor, size - 1);
  if (!at::equal(tensor.cpu(), all.back())) wrong += "broadcast ";
  if (!at::equal(group->all_gather(shard(rank)).cpu(), at::cat(all))) wrong += "all_gather ";
  std::vector<at::Tensor> pieces;
  for (const at::Tensor& one : all) pieces.push_back(one.chunk(size, 0)[static_cast<std::size_t>(rank)]);
  if (!at::equal(group->all_to_all(shard(rank)).cpu(), at::cat(pieces))) wrong += "all_to_all ";
  if (!at::equal(group->shift(shard(rank), 1).cpu(), all[static_cast<std::size_t>((rank + size - 1) % size)])) {
    wrong += "shift ";
  }
  const auto part = group->split(rank % 2);
  if (part->rank() != rank / 2 || part->size() != (size + 1 - rank % 2) / 2) wrong += "split ";
  tensor = shard(rank);
  part->broadcast(tensor, 0);
  if (!at::equal(tensor.cpu(), all[static_cast<std::size_t>(rank % 2)])) wrong += "broadcast in a part ";
  part->finalize();
  tensor = shard(rank);
  group->all_reduce(tensor);
  if (!at::equal(tensor.cpu(), at::stack(all).sum(0))) wrong += "all_reduce ";
  group->finalize();
  return wrong;
}

}  // namespace

TEST_CASE("every verb gives the sum or the concatenation, with as many GPUs as divide the shard") {
  const int size = gpus() >= 4 ? 4 : gpus() >= 2 ? 2 : 1;
  const std::string address = comm::make_nccl_rendezvous()->address();
  std::vector<std::future<std::string>> members;
  for (int r = 0; r < size; ++r) members.push_back(std::async(std::launch::async, wrong_verbs, address, r, size));
  for (auto& member : members) CHECK(member.get() == "");
}

TEST_CASE("a member that never comes ends the set-up at the deadline") {
  const nightreel::base::Stopwatch watch;
  const std::string address = comm::make_nccl_rendezvous()->address();
  CHECK_THROWS_WITH_AS(comm::make_nccl(address, 0, 2, {std::chrono::seconds(3)}),
                       doctest::Contains("not finished within 3000 ms"), nightreel::base::Error);
  CHECK(watch.seconds() < 20.0);
}

int main(int argc, char** argv) {
  if (gpus() == 0) {
    std::puts("skipped: this machine has no GPU that CUDA can use");
    return 77;
  }
  return doctest::Context(argc, argv).run();
}
