// The MPI calls of the program, all of them, as C++ values. mpi.h is included in mpi_library.cpp alone.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace nightreel::cluster {

class Sending;
class SubWorld;

/// MPI_Init_thread to MPI_Finalize. Every failed call throws base::Error{environment} with MPI's own text.
class MpiLibrary {
 public:
  MpiLibrary();
  MpiLibrary(const MpiLibrary&) = delete;
  MpiLibrary& operator=(const MpiLibrary&) = delete;
  ~MpiLibrary();

  int rank() const { return rank_; }
  int size() const { return size_; }
  /// The ranks of the world that share memory with this one, ascending. Blocks until all ranks call it.
  std::vector<int> neighbours() const;
  std::unique_ptr<Sending> send(std::string bytes, int to, int tag);
  /// A message with `tag` from `from` (any rank: -1) that has arrived, and its sender.
  std::optional<std::pair<int, std::string>> receive(int from, int tag) const;
  /// The ranks that name the same `colour`, numbered as in the world. Blocks until all ranks call it.
  std::unique_ptr<SubWorld> split(int colour) const;
  /// The destructor shall not finalize.
  void abandon() { abandoned_ = true; }

 private:
  int rank_ = 0;
  int size_ = 1;
  bool abandoned_ = false;
};

/// A message on its way out; owns the bytes. One thread, and only while the MpiLibrary lives.
class Sending {
 public:
  struct Request;
  explicit Sending(std::unique_ptr<Request> request);
  Sending(const Sending&) = delete;
  Sending& operator=(const Sending&) = delete;
  ~Sending();
  bool done();

 private:
  std::unique_ptr<Request> request_;
};

/// A communicator of some ranks. One thread, and only while the MpiLibrary lives, which frees it at its end.
class SubWorld {
 public:
  struct State;
  explicit SubWorld(std::unique_ptr<State> state);
  SubWorld(const SubWorld&) = delete;
  SubWorld& operator=(const SubWorld&) = delete;
  ~SubWorld();
  std::unique_ptr<Sending> send(std::string bytes, int to);
  /// A message from `from` that has arrived whole. Never waits: a long message whose sender stops in the middle of it
  /// is looked at again by the next call.
  std::optional<std::string> receive(int from);

 private:
  std::unique_ptr<State> state_;
};

}  // namespace nightreel::cluster
