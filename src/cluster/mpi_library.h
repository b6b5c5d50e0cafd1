// The MPI calls of the program, all of them, as C++ values. mpi.h is included in mpi_library.cpp alone.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace nightreel::cluster {

class Sending;

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
  Sending(std::string bytes, int to, int tag);
  Sending(const Sending&) = delete;
  Sending& operator=(const Sending&) = delete;
  ~Sending();
  bool done();

 private:
  struct Request;
  std::unique_ptr<Request> request_;
};

}  // namespace nightreel::cluster
