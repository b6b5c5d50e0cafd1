// What the program holds as ncclComm_t over the stand-in for NCCL: a thread that carries out one call after the other.
//
// Calls come from the one thread that a communicator belongs to, as NCCL wants it.
#pragma once

#include <nccl.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "stand_in/gpu.h"
#include "stand_in/nccl_mail.h"

namespace nightreel::stand_in {

/// What a collective moves: false where a member makes another call, or this one was stopped.
using Transfer = std::function<bool(long call)>;

/// What STAND_IN_NCCL_FAULT asks for.
struct Fault {
  std::string what;  // late, hangs, dies, fails; empty: nothing
  int rank = -1;
  long call = 0;
  int milliseconds = 0;
};

class Collective;

}  // namespace nightreel::stand_in

struct ncclComm {
  ncclComm(const std::string& name, int rank_, int size_);
  ncclComm(const ncclComm&) = delete;
  ncclComm& operator=(const ncclComm&) = delete;
  /// Ends what is under way, and lets those go who wait for it.
  ~ncclComm();

  /// `stream`: whose order the call has; nothing: it is over when state() says so. In progress when this returns: the
  /// stream has it only once state() has told that it was begun, or a little later by itself.
  ncclResult_t start(std::optional<cudaStream_t> stream, nightreel::stand_in::Transfer transfer);
  ncclResult_t state();

  // Of transfers, on the thread of this object:

  /// Every member's `count` bytes, in order of rank.
  bool gather(long call, const void* bytes, std::size_t count, void* out);
  /// Nothing more can be done with this communicator.
  void refuse(ncclResult_t why);

  const std::string id;
  const int rank;
  const int size;
  nightreel::stand_in::Mail mail;

 private:
  struct Call {
    nightreel::stand_in::Transfer transfer;
    std::shared_ptr<nightreel::stand_in::Collective> work;  // null: no stream has it
    cudaStream_t stream = nullptr;
    bool begun = false;
  };

  void begin_all();
  std::optional<Call> next();
  bool suffer(long call);
  void work();

  nightreel::stand_in::Fault fault_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Call> waiting_;
  std::vector<std::shared_ptr<nightreel::stand_in::Collective>> stuck_;
  bool ending_ = false;
  bool under_way_ = false;  // a call that no stream has
  int asks_ = 0;            // times that the newest call is yet said to be in progress
  ncclResult_t error_ = ncclSuccess;
  std::thread thread_;  // last: it uses all the others
};
