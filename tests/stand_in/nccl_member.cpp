// One member of a group over NCCL, or over the stand-in for it: for nccl_test.py and scripts/gpu-proof.
//
//   nccl_member address                            prints a rendezvous' address
//   nccl_member verbs ADDRESS RANK SIZE DEADLINE   says "ready", waits for a line, then goes through every verb; prints
//                                                  "right", or what failed, and ends with 1
#include <ATen/ATen.h>

#include <cstdio>
#include <cstring>

#include "nightreel/base/error.h"
#include "nightreel/comm/communicator.h"

using namespace nightreel;

namespace {

at::Tensor shard(int rank) {
  return (at::arange(24, at::kFloat) + 100 * rank).reshape({24, 1}).to(at::Device(at::kCUDA, 0));
}

std::string wrong_verbs(comm::Communicator& group) {
  const int rank = group.rank();
  const int size = group.size();
  std::vector<at::Tensor> all;
  for (int r = 0; r < size; ++r) all.push_back(shard(r).cpu());
  std::string wrong;
  const auto expect = [&](const char* verb, const at::Tensor& got, const at::Tensor& want) {
    if (!at::equal(got.cpu(), want)) wrong += std::string(" ") + verb;
  };
  at::Tensor tensor = shard(rank);
  group.broadcast(tensor, size - 1);
  expect("broadcast", tensor, all.back());
  expect("all_gather", group.all_gather(shard(rank)), at::cat(all));
  std::vector<at::Tensor> pieces;
  for (const at::Tensor& one : all) pieces.push_back(one.chunk(size, 0)[static_cast<std::size_t>(rank)]);
  expect("all_to_all", group.all_to_all(shard(rank)), at::cat(pieces));
  expect("shift", group.shift(shard(rank), 1), all[static_cast<std::size_t>((rank + size - 1) % size)]);
  const auto part = group.split(rank % 2);
  tensor = shard(rank);
  part->broadcast(tensor, 0);
  expect("broadcast in a part", tensor, all[static_cast<std::size_t>(rank % 2)]);
  part->finalize();
  tensor = shard(rank);
  group.all_reduce(tensor);
  expect("all_reduce", tensor, at::stack(all).sum(0));
  return wrong;
}

int verbs(char** words) {
  at::zeros({1}, at::Device(at::kCUDA, 0));  // what takes time, and is not the group's
  std::printf("ready\n");
  std::fflush(stdout);
  std::getchar();
  const auto deadline = std::chrono::milliseconds(std::stoi(words[3]));
  const auto group = comm::make_nccl(words[0], std::stoi(words[1]), std::stoi(words[2]), {deadline});
  const std::string wrong = wrong_verbs(*group);
  group->finalize();
  std::printf("%s\n", wrong.empty() ? "right" : ("wrong:" + wrong).c_str());
  return wrong.empty() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc == 2 && std::strcmp(argv[1], "address") == 0) {
      std::printf("%s\n", comm::make_nccl_rendezvous()->address().c_str());
      return 0;
    }
    if (argc == 6 && std::strcmp(argv[1], "verbs") == 0) return verbs(argv + 2);
    std::fprintf(stderr, "nccl_member: see its first lines\n");
    return 2;
  } catch (const base::Error& e) {
    std::printf("%s: %s\n", std::string(base::traits(e.kind()).name).c_str(), e.what());
    return 1;
  }
}
