// Device memory: addresses of one reserved range, of which the computing stand-in has pages where something is
// allocated and the counting one nowhere. cudaMalloc and the driver's virtual memory (expandable segments) share it.
//
//   STAND_IN_GPU_BYTES     of the card; 85031714816, which is a real card of "80 GB"
//   STAND_IN_GPU_CONTEXT   bytes that a context takes beside all allocations; 629145600
//   STAND_IN_GPU_VMM       0: a driver without virtual memory management
//   STAND_IN_GPU_OTHERS    UUID:BYTES,…: what other processes hold of the GPU that CUDA_VISIBLE_DEVICES names
#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <string>

#include "stand_in/gpu.h"

namespace nightreel::stand_in {
namespace {

using Bytes = std::uint64_t;
using Driver = int;  // CUresult

constexpr Bytes kPage = Bytes{2} << 20U;   // of a GPU's memory
constexpr Bytes kRange = Bytes{1} << 44U;  // expandable segments take 1.125 cards for each pool and stream
constexpr Bytes kCard = 85031714816ULL;    // an H100 or A100 of 80 GB
constexpr Bytes kContext = Bytes{600} << 20U;
constexpr unsigned char kPoison = 0xA5;
constexpr Driver kOutOfMemory = 2;     // CUDA_ERROR_OUT_OF_MEMORY
constexpr Driver kNotSupported = 801;  // CUDA_ERROR_NOT_SUPPORTED
constexpr int kVirtualMemory = 102;    // CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED

Bytes round_up(Bytes bytes) {
  return (bytes + kPage - 1) / kPage * kPage;
}

std::string text_of(const char* variable) {
  const char* value = std::getenv(variable);
  return value == nullptr ? "" : value;
}

Bytes held_by_others() {
  const std::string all = text_of("STAND_IN_GPU_OTHERS");
  const std::string gpu = text_of("CUDA_VISIBLE_DEVICES") + ":";
  const std::size_t at = all.find(gpu);
  return at == std::string::npos || gpu == ":" ? 0 : std::stoull(all.substr(at + gpu.size()));
}

class Memory {
 public:
  Memory()
      : card_(number("STAND_IN_GPU_BYTES", kCard)),
        context_(number("STAND_IN_GPU_CONTEXT", kContext)),
        others_(held_by_others()),
        first_(
            static_cast<char*>(::mmap(nullptr, kRange, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0))),
        next_(first_) {}

  bool holds(const void* address) const {
    const auto* at = static_cast<const char*>(address);
    return at >= first_ && at < first_ + kRange;
  }

  /// Addresses alone.
  char* reserve(Bytes bytes) {
    const std::lock_guard lock(mutex_);
    char* at = next_;
    next_ += round_up(bytes);
    return next_ <= first_ + kRange ? at : nullptr;
  }

  /// Of the card; false: it has no more.
  bool take(Bytes bytes) {
    const std::lock_guard lock(mutex_);
    if (used_ + bytes + context_ + others_ > card_) {
      ++failed_;
      return false;
    }
    used_ += bytes;
    most_ = std::max(most_, used_);
    return true;
  }
  void give(Bytes bytes) {
    const std::lock_guard lock(mutex_);
    used_ -= bytes;
  }

  void others_hold(Bytes bytes) {
    const std::lock_guard lock(mutex_);
    others_ = bytes;
  }

  void note_block(void* block, Bytes bytes) {
    const std::lock_guard lock(mutex_);
    blocks_[block] = bytes;
  }
  /// Its bytes; 0: there is no such block.
  Bytes forget_block(void* block) {
    const std::lock_guard lock(mutex_);
    const auto found = blocks_.find(block);
    if (found == blocks_.end()) return 0;
    const Bytes bytes = found->second;
    blocks_.erase(found);
    return bytes;
  }

  MemoryUse use(bool reset_most) {
    const std::lock_guard lock(mutex_);
    const MemoryUse now{card_, context_ + others_, used_, most_, failed_};
    if (reset_most) most_ = used_;
    return now;
  }

 private:
  Bytes card_;
  Bytes context_;
  Bytes others_;
  char* first_;
  char* next_;
  std::mutex mutex_;
  Bytes used_ = 0;
  Bytes most_ = 0;
  Bytes failed_ = 0;
  std::map<void*, Bytes> blocks_;
};

Memory& memory() {
  static auto* made = new Memory;
  return *made;
}

void show(void* at, Bytes bytes) {
  if (!memory_is_there()) return;
  ::mprotect(at, bytes, PROT_READ | PROT_WRITE);
  std::memset(at, kPoison, bytes);
}

// A read of what was freed is a fault then.
void hide(void* at, Bytes bytes) {
  if (!memory_is_there()) return;
  ::madvise(at, bytes, MADV_DONTNEED);
  ::mprotect(at, bytes, PROT_NONE);
}

// Pinned memory of the host.
class Pinned {
 public:
  void add(void* at, Bytes bytes) {
    const std::lock_guard lock(mutex_);
    ranges_[static_cast<char*>(at)] = bytes;
  }
  bool remove(void* at) {
    const std::lock_guard lock(mutex_);
    return ranges_.erase(static_cast<char*>(at)) == 1;
  }
  bool holds(const void* address) {
    const std::lock_guard lock(mutex_);
    auto* at = static_cast<char*>(const_cast<void*>(address));
    auto found = ranges_.upper_bound(at);
    if (found == ranges_.begin()) return false;
    --found;
    return at < found->first + found->second;
  }

 private:
  std::mutex mutex_;
  std::map<char*, Bytes> ranges_;
};

Pinned& pinned() {
  static auto* made = new Pinned;
  return *made;
}

// The driver's functions that expandable segments call. A handle is the number of bytes it stands for, which is all
// that is asked of it.

Driver nothing(...) {
  return 0;
}
Driver get_attribute(int* value, int attribute, int) {
  *value = attribute == kVirtualMemory ? static_cast<int>(number("STAND_IN_GPU_VMM", 1)) : 1;
  return 0;
}
Driver granularity(std::size_t* bytes, const void*, int) {
  *bytes = kPage;
  return 0;
}
Driver reserve(unsigned long long* at, std::size_t bytes, std::size_t, unsigned long long, unsigned long long) {
  char* range = memory().reserve(bytes);
  *at = reinterpret_cast<unsigned long long>(range);
  return range == nullptr ? kOutOfMemory : 0;
}
Driver create(unsigned long long* handle, std::size_t bytes, const void*, unsigned long long) {
  count("cuMemCreate", bytes);
  if (!memory().take(bytes)) {
    count("cuMemCreate refused", bytes);
    return kOutOfMemory;
  }
  *handle = bytes;
  return 0;
}
Driver release(unsigned long long handle) {
  count("cuMemRelease", handle);
  memory().give(handle);
  return 0;
}
Driver map(unsigned long long at, std::size_t bytes, std::size_t, unsigned long long, unsigned long long) {
  show(reinterpret_cast<void*>(at), bytes);
  return 0;
}
Driver unmap(unsigned long long at, std::size_t bytes) {
  hide(reinterpret_cast<void*>(at), bytes);
  return 0;
}
Driver error_string(int error, const char** text) {
  *text = error == kOutOfMemory ? "out of memory" : "an error of the stand-in driver";
  return 0;
}
// Between processes, and of what is not asked for here.
Driver not_supported() {
  count("driver call that is not supported");
  return kNotSupported;
}
Driver get_device(int* device, int) {
  *device = 0;
  return 0;
}

}  // namespace

bool on_device(const void* address) {
  return memory().holds(address);
}

bool is_pinned(const void* address) {
  return pinned().holds(address);
}

MemoryUse memory_use(bool reset_most) {
  return memory().use(reset_most);
}

void* driver_function(const std::string& name) {
  static const std::map<std::string, void*> known{
      {"cuDeviceGet", reinterpret_cast<void*>(&get_device)},
      {"cuDeviceGetAttribute", reinterpret_cast<void*>(&get_attribute)},
      {"cuMemGetAllocationGranularity", reinterpret_cast<void*>(&granularity)},
      {"cuMemAddressReserve", reinterpret_cast<void*>(&reserve)},
      {"cuMemCreate", reinterpret_cast<void*>(&create)},
      {"cuMemRelease", reinterpret_cast<void*>(&release)},
      {"cuMemMap", reinterpret_cast<void*>(&map)},
      {"cuMemUnmap", reinterpret_cast<void*>(&unmap)},
      {"cuMemSetAccess", reinterpret_cast<void*>(&nothing)},
      {"cuMemAddressFree", reinterpret_cast<void*>(&nothing)},
      {"cuGetErrorString", reinterpret_cast<void*>(&error_string)}};
  // LibTorch wants to find these where it uses any of the above.
  static const std::set<std::string> wanted{"cuMemExportToShareableHandle",
                                            "cuMemImportFromShareableHandle",
                                            "cuMemRetainAllocationHandle",
                                            "cuMemGetAllocationPropertiesFromHandle",
                                            "cuMemsetD32Async",
                                            "cuStreamWriteValue32"};
  const auto found = known.find(name);
  if (found != known.end()) return found->second;
  return wanted.count(name) > 0 ? reinterpret_cast<void*>(&not_supported) : nullptr;
}

}  // namespace nightreel::stand_in

using namespace nightreel::stand_in;

STAND_IN_API void stand_in_others_hold(std::uint64_t bytes) {
  memory().others_hold(bytes);
}

STAND_IN_API cudaError_t cudaMalloc(void** block, std::size_t bytes) {
  STAND_IN_UNLESS_BROKEN();
  const Bytes taken = round_up(bytes);
  count("cudaMalloc", taken);
  *block = nullptr;
  if (!memory().take(taken)) {
    count("cudaMalloc refused", taken);
    return fail(cudaErrorMemoryAllocation);
  }
  *block = memory().reserve(taken);
  memory().note_block(*block, taken);
  show(*block, taken);
  return cudaSuccess;
}

STAND_IN_API cudaError_t cudaFree(void* block) {
  STAND_IN_UNLESS_BROKEN();
  if (block == nullptr) return cudaSuccess;
  const Bytes bytes = memory().forget_block(block);
  if (bytes == 0) return break_gpu("cudaFree of an address that was not allocated");
  count("cudaFree", bytes);
  memory().give(bytes);
  hide(block, bytes);
  return cudaSuccess;
}

STAND_IN_API cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  STAND_IN_UNLESS_BROKEN();
  const MemoryUse use = memory_use();
  *total = use.card;
  *free = use.card - std::min(use.card, use.used + use.context);
  return cudaSuccess;
}

STAND_IN_API cudaError_t cudaHostRegister(void* at, std::size_t bytes, unsigned) {
  STAND_IN_UNLESS_BROKEN();
  count("cudaHostRegister", bytes);
  pinned().add(at, bytes);
  return cudaSuccess;
}

STAND_IN_API cudaError_t cudaHostUnregister(void* at) {
  STAND_IN_UNLESS_BROKEN();
  return pinned().remove(at) ? cudaSuccess : break_gpu("cudaHostUnregister of memory that was not registered");
}

STAND_IN_API cudaError_t cudaHostAlloc(void** at, std::size_t bytes, unsigned) {
  STAND_IN_UNLESS_BROKEN();
  count("cudaHostAlloc", bytes);
  constexpr std::size_t kHostPage = 4096;
  *at = std::aligned_alloc(kHostPage, (bytes + kHostPage - 1) / kHostPage * kHostPage);
  pinned().add(*at, bytes);
  return cudaSuccess;
}

STAND_IN_API cudaError_t cudaFreeHost(void* at) {
  STAND_IN_UNLESS_BROKEN();
  if (at != nullptr && !pinned().remove(at)) return break_gpu("cudaFreeHost of memory that was not allocated");
  std::free(at);
  return cudaSuccess;
}

STAND_IN_API cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* out, const void* at) {
  STAND_IN_UNLESS_BROKEN();
  *out = {};
  out->type = on_device(at) ? cudaMemoryTypeDevice : is_pinned(at) ? cudaMemoryTypeHost : cudaMemoryTypeUnregistered;
  out->devicePointer = const_cast<void*>(at);
  out->hostPointer = on_device(at) ? nullptr : const_cast<void*>(at);
  return cudaSuccess;
}
