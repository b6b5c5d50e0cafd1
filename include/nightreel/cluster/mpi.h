// The MPI world as the program sees it: who the ranks are, on which hosts, and small messages that all of them share.
//
// A World owns MPI from MPI_Init_thread to MPI_Finalize. One object a process, used by the thread that made it. Every
// wait polls and sleeps (a rank in MPI_Barrier burns a core) and has a deadline; a failure is
// base::Error{environment} that names the ranks that are missing, and the World is then broken: its destructor leaves
// MPI as it is, because MPI_Finalize would wait for the missing ones for ever.
//
// MPI is used at the start and at the end of a run. Only MPI_Init itself can hang past a deadline: that is the
// launcher's to end.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace nightreel::cluster {

class GroupLink;

/// This host's name: gethostname(2). NIGHTREEL_HOSTNAME replaces it, for tests only (two hosts on one machine).
std::string host_name();

/// The MPI library's own words, "Open MPI v4.1.4, …". Needs no World.
std::string mpi_version();

/// Where one rank runs.
struct Place {
  std::string host;    // what the host calls itself; " (rank N)" behind it where two hosts bear one name
  int host_index = 0;  // into World::hosts()
  int local_rank = 0;  // among the ranks of the host, in rank order
  int local_size = 1;
};

/// A message from every rank to every rank under way. Nobody needs to wait in it: an idle rank may start one, go on
/// answering signals, and look from time to time. Rank 0 passes the messages on, so it must look too. Must not outlive
/// its World.
class Exchange {
 public:
  Exchange(Exchange&&) noexcept;
  Exchange& operator=(Exchange&&) noexcept;
  ~Exchange();
  /// Never blocks. The messages in rank order, once every rank has sent its own. Throws when rank 0 has given up.
  std::optional<std::vector<std::string>> test();
  /// Throws Error{environment} about the ranks that have not come; on rank 0 the others learn the same.
  [[noreturn]] void give_up(const std::string& what);
  /// test() until it answers or `deadline` has passed, then give_up(). `what` is for people: "the exit code".
  std::vector<std::string> wait(std::chrono::milliseconds deadline, const std::string& what);

 private:
  friend class World;
  struct State;
  explicit Exchange(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// The worst of the exit codes, in the order 4, 2, 3, 75, 1, 0; a code that is none of these counts as 4.
int worst_exit_code(const std::vector<int>& codes);

/// The ranks' exit codes on their way to one. As Exchange.
class ExitAgreement {
 public:
  /// Never blocks. The code that every rank gets, within milliseconds after the last rank has come.
  std::optional<int> test();
  int wait(std::chrono::milliseconds deadline);

 private:
  friend class World;
  explicit ExitAgreement(Exchange exchange) : exchange_(std::move(exchange)) {}
  Exchange exchange_;
};

class World {
 public:
  /// Starts MPI (MPI_THREAD_FUNNELED) and learns where all ranks are.
  explicit World(std::chrono::milliseconds deadline);
  World(const World&) = delete;
  World& operator=(const World&) = delete;
  ~World();

  int rank() const;
  int size() const;
  const Place& place() const { return places_[static_cast<std::size_t>(rank())]; }
  /// Of every rank, in rank order.
  const std::vector<Place>& places() const { return places_; }
  /// Each host once, in the order of its lowest rank.
  const std::vector<std::string>& hosts() const { return hosts_; }
  /// "rank 2 on host b".
  std::string name_of(int rank) const;

  // Collective: all ranks make the same calls in the same order.

  Exchange start_exchange(const std::string& mine);
  /// `mine` of every rank, in rank order.
  std::vector<std::string> all_gather(const std::string& mine, std::chrono::milliseconds deadline,
                                      const std::string& what);
  /// `bytes` of `root` on every rank; returns when all ranks have called it.
  std::string broadcast(const std::string& bytes, int root, std::chrono::milliseconds deadline,
                        const std::string& what);
  /// Each rank's problem, if it has one. Where there is any, every rank throws the same Error{environment}, which
  /// lists "rank 2 on host b: …".
  void throw_together(const std::optional<std::string>& problem, std::chrono::milliseconds deadline,
                      const std::string& what);
  /// The link of the group that this rank is in; of a rank that no group names, one of its own.
  std::unique_ptr<GroupLink> split(const std::vector<std::vector<int>>& groups, std::chrono::milliseconds deadline);
  ExitAgreement start_exit_agreement(int mine);
  int agree_exit_code(int mine, std::chrono::milliseconds deadline);

  /// The destructor shall not finalize: for a rank that was told to TERM, whose peers may be gone. The caller then
  /// ends the process with _exit.
  void abandon();

 private:
  friend struct Exchange::State;
  friend class GroupLink;
  struct Impl;
  void find_places(std::chrono::milliseconds deadline);
  std::shared_ptr<Impl> impl_;
  std::vector<Place> places_;
  std::vector<std::string> hosts_;
};

}  // namespace nightreel::cluster
