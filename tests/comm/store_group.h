// Groups of forked members that meet at a store in the test's own process.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "nightreel/comm/communicator.h"

namespace nightreel::test {

/// For exchanges that must succeed: what only a hang reaches.
constexpr std::chrono::seconds kLong{60};

/// To be called by a process that computes and then forks members: threads of LibTorch's do not live on in a fork.
void compute_in_one_thread();

/// Outcomes of `size` members that know a store's address.
std::vector<std::string> with_store(int size, const std::function<std::string(const std::string& address, int)>& work);

/// Outcomes of `size` members that join one store and run `work`.
std::vector<std::string> in_group(int size, std::chrono::milliseconds deadline,
                                  const std::function<std::string(comm::Communicator&)>& work);

}  // namespace nightreel::test
