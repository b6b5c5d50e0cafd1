#include "comm/store_group.h"

#include <ATen/Parallel.h>

#include <memory>

#include "comm/members.h"

namespace nightreel::test {

void compute_in_one_thread() {
  at::set_num_threads(1);
}

std::vector<std::string> with_store(int size, const std::function<std::string(const std::string&, int)>& work) {
  const Announcement address;
  std::unique_ptr<comm::Rendezvous> rendezvous;
  return run_members(
      size, [&](int rank) { return work(address.wait(), rank); },
      [&] {
        rendezvous = comm::make_store_rendezvous("127.0.0.1");
        address.tell(rendezvous->address(), size);
      });
}

std::vector<std::string> in_group(int size, std::chrono::milliseconds deadline,
                                  const std::function<std::string(comm::Communicator&)>& work) {
  return with_store(size, [&](const std::string& address, int rank) {
    const auto group = comm::make_store(address, rank, size, {deadline});
    return work(*group);
  });
}

}  // namespace nightreel::test
