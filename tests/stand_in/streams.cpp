// Streams and events. What a kernel would do is done when it is launched; a stream's list has what is late: copies to
// pinned memory and NCCL's collectives. A host that does not wait for them reads what was there before.
#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>

#include "stand_in/gpu.h"

namespace nightreel::stand_in {
namespace {

using Works = std::vector<std::shared_ptr<Work>>;

struct Streams {
  std::mutex mutex;
  std::map<void*, Works> late;    // by stream
  std::map<void*, Works> events;  // what was late when an event was recorded
};

Streams& streams() {
  static auto* made = new Streams;
  return *made;
}

std::uintptr_t next_handle() {
  static std::atomic<std::uintptr_t> latest{0x1000};
  return latest += 16;
}

Works late_on(cudaStream_t stream) {
  const std::lock_guard lock(streams().mutex);
  return streams().late[stream];
}

void forget(cudaStream_t stream, const Works& finished) {
  const std::lock_guard lock(streams().mutex);
  Works& late = streams().late[stream];
  const auto is_finished = [&](const auto& work) {
    return std::find(finished.begin(), finished.end(), work) != finished.end();
  };
  late.erase(std::remove_if(late.begin(), late.end(), is_finished), late.end());
}

cudaError_t ask(const Works& works) {
  for (const auto& work : works) {
    if (!work->done()) return cudaErrorNotReady;
  }
  return cudaSuccess;
}

Works before(cudaEvent_t event) {
  const std::lock_guard lock(streams().mutex);
  return streams().events[event];
}

}  // namespace

void put(cudaStream_t stream, std::shared_ptr<Work> work) {
  const std::lock_guard lock(streams().mutex);
  streams().late[stream].push_back(std::move(work));
}

void catch_up(cudaStream_t stream) {
  Works finished;
  for (const auto& work : late_on(stream)) {
    if (work->for_the_host()) continue;
    work->finish();
    finished.push_back(work);
  }
  if (!finished.empty()) forget(stream, finished);
}

void settle(cudaStream_t stream) {
  const Works works = late_on(stream);
  for (const auto& work : works) work->finish();
  forget(stream, works);
}

}  // namespace nightreel::stand_in

using namespace nightreel::stand_in;

STAND_IN_API cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned, int) {
  STAND_IN_UNLESS_BROKEN();
  *stream = reinterpret_cast<cudaStream_t>(next_handle());
  return cudaSuccess;
}

STAND_IN_API cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  STAND_IN_UNLESS_BROKEN();
  settle(stream);
  return cudaSuccess;
}

STAND_IN_API cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  STAND_IN_UNLESS_BROKEN();
  count("sync cudaStreamSynchronize");
  settle(stream);
  return broken();
}

STAND_IN_API cudaError_t cudaDeviceSynchronize() {
  STAND_IN_UNLESS_BROKEN();
  count("sync cudaDeviceSynchronize");
  std::vector<void*> all;
  {
    const std::lock_guard lock(streams().mutex);
    for (const auto& [stream, works] : streams().late) all.push_back(stream);
  }
  for (void* stream : all) settle(static_cast<cudaStream_t>(stream));
  return broken();
}

STAND_IN_API cudaError_t cudaStreamQuery(cudaStream_t stream) {
  STAND_IN_UNLESS_BROKEN();
  return fail(ask(late_on(stream)));
}

STAND_IN_API cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  STAND_IN_UNLESS_BROKEN();
  for (const auto& work : before(event)) put(stream, work);
  return cudaSuccess;
}

STAND_IN_API cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  STAND_IN_UNLESS_BROKEN();
  *event = reinterpret_cast<cudaEvent_t>(next_handle());
  return cudaSuccess;
}

STAND_IN_API cudaError_t cudaEventCreate(cudaEvent_t* event) {
  return cudaEventCreateWithFlags(event, 0);
}

STAND_IN_API cudaError_t cudaEventDestroy(cudaEvent_t event) {
  const std::lock_guard lock(streams().mutex);
  streams().events.erase(event);
  return cudaSuccess;
}

STAND_IN_API cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  STAND_IN_UNLESS_BROKEN();
  const std::lock_guard lock(streams().mutex);
  streams().events[event] = streams().late[stream];
  return cudaSuccess;
}

STAND_IN_API cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned) {
  return cudaEventRecord(event, stream);
}

STAND_IN_API cudaError_t cudaEventQuery(cudaEvent_t event) {
  STAND_IN_UNLESS_BROKEN();
  return fail(ask(before(event)));
}

STAND_IN_API cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  STAND_IN_UNLESS_BROKEN();
  count("sync cudaEventSynchronize");
  for (const auto& work : before(event)) work->finish();
  return broken();
}

STAND_IN_API cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t, cudaEvent_t) {
  STAND_IN_UNLESS_BROKEN();
  *milliseconds = 0;
  return cudaSuccess;
}

STAND_IN_API cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus* status) {
  STAND_IN_UNLESS_BROKEN();
  *status = cudaStreamCaptureStatusNone;
  return cudaSuccess;
}

STAND_IN_API cudaError_t cudaStreamGetCaptureInfo(cudaStream_t, cudaStreamCaptureStatus* status, unsigned long long* id,
                                                  cudaGraph_t*, const cudaGraphNode_t**, const cudaGraphEdgeData**,
                                                  std::size_t*) {
  STAND_IN_UNLESS_BROKEN();
  *status = cudaStreamCaptureStatusNone;
  if (id != nullptr) *id = 0;
  return cudaSuccess;
}

STAND_IN_API cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode*) {
  return broken();
}

STAND_IN_API cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  STAND_IN_UNLESS_BROKEN();
  *least = 0;
  *greatest = -5;
  return cudaSuccess;
}
