// NCCL, non-blocking, each step with a deadline. The only file of the program that calls NCCL.
//
// NCCL has no time-out of its own, and a local peer that died may show no error: so every call is waited for here,
// polling, and a communicator whose call is late is aborted, which takes its kernels off the GPU.
#include <c10/core/Device.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>
#include <nccl.h>

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>
#include <thread>
#include <utility>

#include "comm/checks.h"
#include "nightreel/base/error.h"
#include "nightreel/base/hash.h"
#include "nightreel/comm/communicator.h"

namespace nightreel::comm {
namespace {

using base::Error;
using base::ErrorKind;
using Clock = std::chrono::steady_clock;
using std::chrono::microseconds;

[[noreturn]] void fail_nccl(const std::string& message) {
  throw Error(ErrorKind::comm, message);
}

void check_cuda(cudaError_t status, const std::string& what) {
  if (status != cudaSuccess) throw Error(ErrorKind::device, what + ": " + cudaGetErrorString(status));
}

/// Sleeps that begin short, for small messages, and grow to a millisecond, for large ones.
class Pause {
 public:
  void operator()() {
    std::this_thread::sleep_for(length_);
    length_ = std::min(length_ * 2, microseconds(1000));
  }

 private:
  microseconds length_{20};
};

ncclUniqueId parse_id(const std::string& hex) {
  ncclUniqueId id{};
  const bool fits =
      hex.size() == 2 * sizeof(id.internal) && hex.find_first_not_of("0123456789abcdef") == std::string::npos;
  if (!fits) {
    fail_nccl("nccl: " + base::printable(hex, 40) + " is not a unique id (" + std::to_string(2 * sizeof(id.internal)) +
              " hex digits)");
  }
  for (std::size_t i = 0; i < sizeof(id.internal); ++i) {
    const auto byte = static_cast<unsigned char>(std::stoi(hex.substr(2 * i, 2), nullptr, 16));
    std::memcpy(&id.internal[i], &byte, 1);
  }
  return id;
}

ncclDataType_t data_type(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return ncclFloat32;
    case at::kDouble:
      return ncclFloat64;
    case at::kHalf:
      return ncclFloat16;
    case at::kBFloat16:
      return ncclBfloat16;
    case at::kInt:
      return ncclInt32;
    case at::kLong:
      return ncclInt64;
    case at::kByte:
      return ncclUint8;
    case at::kChar:
      return ncclInt8;
    default:
      fail_nccl(std::string("nccl: no sum of ") + c10::toString(type));
  }
}

class NcclRendezvous final : public Rendezvous {
 public:
  NcclRendezvous() {
    ncclUniqueId id{};
    const ncclResult_t result = ncclGetUniqueId(&id);
    if (result != ncclSuccess) {
      fail_nccl(std::string("nccl: cannot make a unique id: ") + ncclGetErrorString(result) + " (" +
                base::printable(ncclGetLastError(nullptr)) + "); see NCCL_SOCKET_IFNAME");
    }
    std::array<unsigned char, sizeof(id.internal)> bytes{};
    std::memcpy(bytes.data(), id.internal, bytes.size());
    address_ = base::hex(bytes.data(), bytes.size());
  }
  std::string address() const override { return address_; }

 private:
  std::string address_;
};

class Event {
 public:
  Event() { check_cuda(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "cannot make a CUDA event"); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  ~Event() { cudaEventDestroy(event_); }
  cudaEvent_t get() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

class Nccl final : public Communicator {
 public:
  Nccl(const std::string& address, int rank, int size, const Options& options)
      : rank_(rank), size_(size), deadline_(options.deadline) {
    const ncclUniqueId id = parse_id(address);
    check_cuda(cudaGetDevice(&device_), "no CUDA device");
    event_ = std::make_unique<Event>();
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    begin("the set-up");
    const ncclResult_t result = ncclCommInitRankConfig(&comm_, size, id, rank, &config);
    guarded([&] { settle(result); });
  }
  /// Takes over `part`, which was split off and is ready.
  Nccl(ncclComm_t part, int device, std::chrono::milliseconds deadline)
      : rank_(0), size_(0), device_(device), deadline_(deadline), comm_(part) {
    begin("split");
    guarded([&] {
      check_result(ncclCommUserRank(comm_, &rank_));
      check_result(ncclCommCount(comm_, &size_));
      event_ = std::make_unique<Event>();
    });
  }
  Nccl(const Nccl&) = delete;
  Nccl& operator=(const Nccl&) = delete;
  ~Nccl() override { abort(); }

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  void broadcast(at::Tensor& tensor, int root) override {
    check(Verb::broadcast, tensor, root);
    run(Verb::broadcast, tensor, root, [&](cudaStream_t stream) {
      return ncclBroadcast(tensor.data_ptr(), tensor.data_ptr(), tensor.nbytes(), ncclUint8, root, comm_, stream);
    });
  }

  at::Tensor all_gather(const at::Tensor& tensor) override {
    check(Verb::all_gather, tensor, 0);
    at::Tensor out = at::empty(gathered_shape(tensor, size_), tensor.options());
    all_gather_into(out, tensor);
    return out;
  }

  void all_gather_into(at::Tensor& out, const at::Tensor& tensor) override {
    check(Verb::all_gather, tensor, 0);
    const std::string problem = gather_misfit(out, tensor, size_);
    if (!problem.empty()) fail_nccl("nccl, rank " + std::to_string(rank_) + ": " + problem);
    const at::Tensor source = tensor.contiguous();
    run(Verb::all_gather, source, 0, [&](cudaStream_t stream) {
      return ncclAllGather(source.const_data_ptr(), out.data_ptr(), source.nbytes(), ncclUint8, comm_, stream);
    });
  }

  at::Tensor all_to_all(const at::Tensor& tensor) override {
    check(Verb::all_to_all, tensor, 0);
    const at::Tensor source = tensor.contiguous();
    at::Tensor out = at::empty_like(source);
    const std::size_t piece = source.nbytes() / static_cast<std::size_t>(size_);
    run(Verb::all_to_all, source, 0, [&](cudaStream_t stream) {
      return ncclAlltoAll(source.const_data_ptr(), out.data_ptr(), piece, ncclUint8, comm_, stream);
    });
    return out;
  }

  at::Tensor shift(const at::Tensor& tensor, int by) override {
    check(Verb::shift, tensor, by);
    const int to = around(rank_, by, size_);
    const int from = around(rank_, -by, size_);
    if (to == rank_) return tensor;
    const at::Tensor source = tensor.contiguous();
    at::Tensor out = at::empty_like(source);
    run(Verb::shift, source, by, [&](cudaStream_t stream) {
      ncclGroupStart();
      ncclSend(source.const_data_ptr(), source.nbytes(), ncclUint8, to, comm_, stream);
      ncclRecv(out.data_ptr(), out.nbytes(), ncclUint8, from, comm_, stream);
      return ncclGroupEnd();  // says what went wrong in between too
    });
    return out;
  }

  void all_reduce(at::Tensor& tensor) override {
    check(Verb::all_reduce, tensor, 0);
    run(Verb::all_reduce, tensor, 0, [&](cudaStream_t stream) {
      return ncclAllReduce(tensor.data_ptr(), tensor.data_ptr(), static_cast<std::size_t>(tensor.numel()),
                           data_type(tensor.scalar_type()), ncclSum, comm_, stream);
    });
  }

  std::unique_ptr<Communicator> split(int part) override {
    const std::string problem = part_misfit(part);
    if (!problem.empty()) fail_nccl("nccl, rank " + std::to_string(rank_) + ": " + problem);
    require_usable();
    begin("split");
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    // NCCL writes it from a thread of its own, when this communicator says that it is done.
    guarded([&] { settle(ncclCommSplit(comm_, part, rank_, &part_, &config)); });
    return std::make_unique<Nccl>(std::exchange(part_, nullptr), device_, deadline_);
  }

  void finalize() override {
    require_usable();
    begin("the end");
    guarded([&] { settle(ncclCommFinalize(comm_)); });
    const ncclResult_t result = ncclCommDestroy(comm_);
    comm_ = nullptr;
    broken_ = "the communicator was finalised";
    if (result != ncclSuccess) fail_nccl(where() + ncclGetErrorString(result));
  }

 private:
  std::string where() const {
    return "nccl, rank " + std::to_string(rank_) + " of " + std::to_string(size_) + ", " + doing_ + ": ";
  }

  void check(Verb verb, const at::Tensor& tensor, int whither) const {
    std::string problem = misfit(verb, tensor, whither, size_, at::kCUDA);
    if (problem.empty() && tensor.device().index() != device_) {
      problem = std::string("cannot ") + name(verb) + ": the tensor is on " + tensor.device().str() +
                ", the communicator on cuda:" + std::to_string(device_);
    }
    if (!problem.empty()) fail_nccl("nccl, rank " + std::to_string(rank_) + ": " + problem);
  }

  void require_usable() const {
    if (comm_ == nullptr) fail_nccl("nccl: unusable since an earlier call: " + broken_);
  }

  void begin(std::string doing) {
    doing_ = std::move(doing);
    until_ = Clock::now() + deadline_;
  }

  void check_late() const {
    if (Clock::now() < until_) return;
    fail_nccl(where() + "not finished within " + std::to_string(deadline_.count()) +
              " ms: a member is gone, frozen, or makes another call");
  }

  void check_result(ncclResult_t result) const {
    if (result == ncclSuccess || result == ncclInProgress) return;
    fail_nccl(where() + ncclGetErrorString(result) + " (" + base::printable(ncclGetLastError(comm_)) + ")");
  }

  // A non-blocking communicator's call is under way when it returns; the stream has it only after this.
  void settle(ncclResult_t result) const {
    check_result(result);
    Pause pause;
    ncclResult_t state = ncclInProgress;
    while (true) {
      check_result(ncclCommGetAsyncError(comm_, &state));
      check_result(state);
      if (state == ncclSuccess) return;
      check_late();
      pause();
    }
  }

  void wait_for_stream(cudaStream_t stream) const {
    check_cuda(cudaEventRecord(event_->get(), stream), where() + "cannot record an event");
    Pause pause;
    while (true) {
      const cudaError_t status = cudaEventQuery(event_->get());
      if (status == cudaSuccess) return;
      if (status != cudaErrorNotReady) check_cuda(status, where() + "failed on the GPU");
      ncclResult_t state = ncclSuccess;
      check_result(ncclCommGetAsyncError(comm_, &state));
      check_result(state);
      check_late();
      pause();
    }
  }

  template <typename Enqueue>
  void run(Verb verb, const at::Tensor& tensor, int whither, const Enqueue& enqueue) {
    require_usable();
    if (tensor.nbytes() == 0) return;
    begin(describe(verb, tensor, whither));
    const cudaStream_t stream = c10::cuda::getCurrentCUDAStream(static_cast<c10::DeviceIndex>(device_)).stream();
    guarded([&] {
      settle(enqueue(stream));
      wait_for_stream(stream);
    });
  }

  // Whatever fails, the communicator is aborted: half a collective cannot be mended.
  template <typename Work>
  void guarded(const Work& work) {
    try {
      work();
    } catch (const Error& e) {
      broken_ = e.what();
      abort();
      throw;
    }
  }

  void abort() {
    if (comm_ != nullptr) ncclCommAbort(comm_);
    comm_ = nullptr;
  }

  int rank_;
  int size_;
  int device_ = 0;
  std::chrono::milliseconds deadline_;
  std::unique_ptr<Event> event_;
  ncclComm_t comm_ = nullptr;
  ncclComm_t part_ = nullptr;  // while it is split off
  Clock::time_point until_;
  std::string doing_;
  std::string broken_;
};

}  // namespace

std::string nccl_version() {
  int code = 0;
  if (ncclGetVersion(&code) != ncclSuccess) return "unknown";
  return std::to_string(code / 10000) + "." + std::to_string(code / 100 % 100) + "." + std::to_string(code % 100);
}

std::unique_ptr<Rendezvous> make_nccl_rendezvous() {
  return std::make_unique<NcclRendezvous>();
}

std::unique_ptr<Communicator> make_nccl(const std::string& address, int rank, int size, const Options& options) {
  if (size < 1 || rank < 0 || rank >= size) {
    fail_nccl("rank " + std::to_string(rank) + " is not one of " + std::to_string(size) + " ranks");
  }
  return std::make_unique<Nccl>(address, rank, size, options);
}

}  // namespace nightreel::comm
