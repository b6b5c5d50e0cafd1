// A stand-in for NCCL between processes of one host, each with a stand-in GPU of its own. Non-blocking, as nightreel
// uses it: a call is under way when it returns, and what it brings is there when its stream is waited for.
//
//   STAND_IN_NCCL_FAULT   WHAT:RANK:CALL[:MS], for the member RANK of each communicator, at its call number CALL (the
//                         set-up is 1): late (by MS), hangs, dies (SIGKILL), fails
//   NIGHTREEL_FAKE_NVML   the stand-in NVML's file: two slices of one GPU are refused, as two ranks on one GPU are
#include <nccl.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "stand_in/nccl_comm.h"

namespace nightreel::stand_in {
namespace {

std::size_t bytes_of(ncclDataType_t type) {
  switch (type) {
    case ncclInt8:
    case ncclUint8:
      return 1;
    case ncclFloat16:
    case ncclBfloat16:
      return 2;
    case ncclInt64:
    case ncclUint64:
    case ncclFloat64:
      return 8;
    default:
      return 4;
  }
}

/// Wherever in the file it is; empty: `uuid` is no slice.
std::string gpu_of_slice(const nlohmann::json& within, const std::string& uuid) {
  if (within.is_object() && within.contains("mig")) {
    for (const auto& slice : within.at("mig")) {
      if (slice.value("uuid", "") == uuid) return within.value("uuid", "");
    }
  }
  if (!within.is_structured()) return "";
  for (const auto& part : within) {
    const std::string found = gpu_of_slice(part, uuid);
    if (!found.empty()) return found;
  }
  return "";
}

/// The GPU that this process sees, by its UUID; of a slice the GPU's that it is part of.
std::string gpu_here() {
  const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
  const char* nvml = std::getenv("NIGHTREEL_FAKE_NVML");
  const std::string mine = visible == nullptr ? "" : visible;
  if (nvml == nullptr) return mine;
  const auto config = nlohmann::json::parse(std::ifstream(nvml), nullptr, false);
  const std::string owner = gpu_of_slice(config, mine);
  return owner.empty() ? mine : owner;
}

/// What the set-up refused; it is said at most once.
std::atomic<const char*>& last_error() {
  static std::atomic<const char*> text{""};
  return text;
}

}  // namespace
}  // namespace nightreel::stand_in

using namespace nightreel::stand_in;

namespace {

std::vector<char> taken(const void* bytes, std::size_t size) {
  return {static_cast<const char*>(bytes), static_cast<const char*>(bytes) + size};
}

/// What `stream` has at `bytes` when it comes to the call: all before it is done.
std::vector<char> taken(cudaStream_t stream, const void* bytes, std::size_t size) {
  catch_up(stream);
  return taken(bytes, size);
}

template <class T>
void add(std::vector<char>& sum, const std::vector<char>& more) {
  for (std::size_t i = 0; i < sum.size(); i += sizeof(T)) {
    T a;
    T b;
    std::memcpy(&a, &sum[i], sizeof(T));
    std::memcpy(&b, &more[i], sizeof(T));
    a = static_cast<T>(a + b);
    std::memcpy(&sum[i], &a, sizeof(T));
  }
}

bool add(ncclDataType_t type, std::vector<char>& sum, const std::vector<char>& more) {
  switch (type) {
    case ncclFloat32:
      add<float>(sum, more);
      return true;
    case ncclFloat64:
      add<double>(sum, more);
      return true;
    case ncclInt32:
      add<std::int32_t>(sum, more);
      return true;
    case ncclInt64:
      add<std::int64_t>(sum, more);
      return true;
    case ncclUint8:
      add<std::uint8_t>(sum, more);
      return true;
    case ncclInt8:
      add<std::int8_t>(sum, more);
      return true;
    default:
      return false;  // nightreel sums nothing else
  }
}

// Between ncclGroupStart and ncclGroupEnd.
struct Half {
  ncclComm* comm;
  cudaStream_t stream;
  int peer;
  std::vector<char> sent;  // empty: it receives
  void* into;
  std::size_t bytes;
};
thread_local int depth = 0;
thread_local std::vector<Half> halves;

}  // namespace

extern "C" {

ncclResult_t ncclGetVersion(int* version) {
  *version = 22809;
  return ncclSuccess;
}
const char* ncclGetErrorString(ncclResult_t result) {
  return result == ncclInvalidUsage ? "invalid usage" : "an error of the stand-in for NCCL";
}
const char* ncclGetLastError(ncclComm_t) {
  return last_error();
}

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  std::random_device random;
  for (char& c : id->internal) c = static_cast<char>(random());
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* out, int size, ncclUniqueId id, int rank, ncclConfig_t*) {
  std::string name;
  for (int i = 0; i < 16; ++i) {
    const auto byte = static_cast<unsigned char>(id.internal[i]);
    name += "0123456789abcdef"[byte >> 4U];
    name += "0123456789abcdef"[byte & 15U];
  }
  auto* comm = new ncclComm(name, rank, size);
  *out = comm;
  return comm->start(std::nullopt, [comm](long call) {
    using Gpu = std::array<char, 64>;
    Gpu mine{};
    gpu_here().copy(mine.data(), mine.size() - 1);
    std::vector<Gpu> all(static_cast<std::size_t>(comm->size));
    if (!comm->gather(call, mine.data(), sizeof mine, all.data())) return false;
    if (std::count(all.begin(), all.end(), mine) > 1 && mine[0] != '\0') {
      last_error() = "Duplicate GPU detected";
      comm->refuse(ncclInvalidUsage);
      return false;
    }
    return true;
  });
}

ncclResult_t ncclCommSplit(ncclComm_t comm, int colour, int key, ncclComm_t* out, ncclConfig_t*) {
  return comm->start(std::nullopt, [=](long call) {
    using Seat = std::array<int, 3>;
    const Seat mine{colour, key, comm->rank};
    std::vector<Seat> all(static_cast<std::size_t>(comm->size));
    if (!comm->gather(call, mine.data(), sizeof mine, all.data())) return false;
    all.erase(std::remove_if(all.begin(), all.end(), [&](const Seat& seat) { return seat[0] != colour; }), all.end());
    std::sort(all.begin(), all.end());
    const auto seat = std::find(all.begin(), all.end(), mine) - all.begin();
    const std::string name = comm->id + "-" + std::to_string(call) + "-" + std::to_string(colour);
    *out = new ncclComm(name, static_cast<int>(seat), static_cast<int>(all.size()));
    return true;
  });
}

ncclResult_t ncclCommUserRank(ncclComm_t comm, int* rank) {
  *rank = comm->rank;
  return ncclSuccess;
}
ncclResult_t ncclCommCount(ncclComm_t comm, int* size) {
  *size = comm->size;
  return ncclSuccess;
}
ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* state) {
  *state = comm->state();
  return ncclSuccess;
}
ncclResult_t ncclCommFinalize(ncclComm_t comm) {
  return comm->start(std::nullopt, [=](long call) {
    const char here = 1;
    std::vector<char> all(static_cast<std::size_t>(comm->size));
    if (!comm->gather(call, &here, 1, all.data())) return false;
    comm->mail.leave(comm->size);
    return true;
  });
}
ncclResult_t ncclCommAbort(ncclComm_t comm) {
  delete comm;
  return ncclSuccess;
}
ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  delete comm;
  return ncclSuccess;
}

ncclResult_t ncclBroadcast(const void* from, void* to, size_t count, ncclDataType_t type, int root, ncclComm_t comm,
                           cudaStream_t stream) {
  const std::size_t bytes = count * bytes_of(type);
  auto mine = comm->rank == root ? taken(stream, from, bytes) : std::vector<char>();
  return comm->start(stream, [=, mine = std::move(mine)](long call) {
    const char read = 1;
    if (comm->rank != root) {
      if (!comm->mail.fetch(call, root, comm->rank, to, bytes)) return false;
      comm->mail.post(call, root, &read, 1);
      return true;
    }
    std::memmove(to, mine.data(), bytes);
    for (int r = 0; r < comm->size; ++r) {
      if (r != root) comm->mail.post(call, r, mine.data(), bytes);
    }
    char answer = 0;
    for (int r = 0; r < comm->size; ++r) {
      if (r != root && !comm->mail.fetch(call, r, root, &answer, 1)) return false;
    }
    return true;
  });
}

ncclResult_t ncclAllGather(const void* from, void* to, size_t count, ncclDataType_t type, ncclComm_t comm,
                           cudaStream_t stream) {
  return comm->start(stream, [=, mine = taken(stream, from, count * bytes_of(type))](long call) {
    return comm->gather(call, mine.data(), mine.size(), to);
  });
}

ncclResult_t ncclAlltoAll(const void* from, void* to, size_t count, ncclDataType_t type, ncclComm_t comm,
                          cudaStream_t stream) {
  const std::size_t piece = count * bytes_of(type);
  const auto members = static_cast<std::size_t>(comm->size);
  return comm->start(stream, [=, mine = taken(stream, from, piece * members)](long call) {
    for (std::size_t r = 0; r < members; ++r)
      comm->mail.post(call, static_cast<int>(r), mine.data() + r * piece, piece);
    for (std::size_t r = 0; r < members; ++r) {
      char* into = static_cast<char*>(to) + r * piece;
      if (!comm->mail.fetch(call, static_cast<int>(r), comm->rank, into, piece)) return false;
    }
    comm->mail.all_have_begun(call);
    return true;
  });
}

ncclResult_t ncclAllReduce(const void* from, void* to, size_t count, ncclDataType_t type, ncclRedOp_t, ncclComm_t comm,
                           cudaStream_t stream) {
  return comm->start(stream, [=, mine = taken(stream, from, count * bytes_of(type))](long call) {
    const std::size_t bytes = mine.size();
    std::vector<char> all(bytes * static_cast<std::size_t>(comm->size));
    if (!comm->gather(call, mine.data(), bytes, all.data())) return false;
    std::vector<char> sum(bytes);
    for (std::size_t at = 0; at < all.size(); at += bytes) {
      if (!add(type, sum, taken(all.data() + at, bytes))) return false;
    }
    std::memcpy(to, sum.data(), bytes);
    return true;
  });
}

ncclResult_t ncclGroupStart() {
  ++depth;
  return ncclSuccess;
}

ncclResult_t ncclSend(const void* from, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
  halves.push_back({comm, stream, peer, taken(stream, from, count * bytes_of(type)), nullptr, count * bytes_of(type)});
  return depth > 0 ? ncclSuccess : ncclInvalidUsage;  // alone it is not needed
}

ncclResult_t ncclRecv(void* to, size_t count, ncclDataType_t type, int peer, ncclComm_t comm, cudaStream_t stream) {
  halves.push_back({comm, stream, peer, {}, to, count * bytes_of(type)});
  return depth > 0 ? ncclSuccess : ncclInvalidUsage;
}

ncclResult_t ncclGroupEnd() {
  if (--depth > 0 || halves.empty()) return ncclSuccess;
  ncclComm* comm = halves.front().comm;
  const cudaStream_t stream = halves.front().stream;
  return comm->start(stream, [comm, all = std::exchange(halves, {})](long call) {
    for (const Half& one : all) {
      if (one.into == nullptr) comm->mail.post(call, one.peer, one.sent.data(), one.bytes);
    }
    for (const Half& one : all) {
      if (one.into != nullptr && !comm->mail.fetch(call, one.peer, comm->rank, one.into, one.bytes)) return false;
    }
    return true;
  });
}
}
