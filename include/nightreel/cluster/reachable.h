// Which of rank 0's network addresses do all ranks reach? For the private redis-server of a run on several hosts.
//
// A ProbeListener owns sockets and a thread; the rest is without state, any thread. An address that cannot be listened
// on, or reached, is an answer and no error; what fails is Error{environment}.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "nightreel/base/file.h"

namespace nightreel::cluster {

/// This host's addresses that other hosts may reach: of interfaces that are up, neither loopback nor link-local. IPv4
/// first, in the system's order.
std::vector<std::string> host_addresses();

/// Listens on each address and tells whoever connects a random word: another host may have the same address (a
/// container bridge), and something else may listen there.
class ProbeListener {
 public:
  struct Door {
    std::string address;
    int port = 0;
  };
  explicit ProbeListener(const std::vector<std::string>& addresses);
  ProbeListener(const ProbeListener&) = delete;
  ProbeListener& operator=(const ProbeListener&) = delete;
  ~ProbeListener();
  /// The addresses that could be listened on.
  const std::vector<Door>& doors() const { return doors_; }
  const std::string& word() const { return word_; }

 private:
  void serve();
  std::string word_;
  std::vector<Door> doors_;
  std::vector<base::Fd> sockets_;
  base::Fd wake_;
  std::thread thread_;  // last: it uses all the above
};

/// One character for each door, tried at once: '1' where `word` came back within `limit`, else '0'.
std::string try_doors(const std::vector<ProbeListener::Door>& doors, const std::string& word,
                      std::chrono::milliseconds limit);

/// The first door with '1' in each rank's answer.
std::optional<std::size_t> first_for_all(std::size_t doors, const std::vector<std::string>& answers);

}  // namespace nightreel::cluster
