// Copies. The device sees them in the order of its stream; the host sees one to pinned memory only when it has waited,
// and so finds out who did not.
#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>

#include "stand_in/gpu.h"

namespace nightreel::stand_in {
namespace {

// From the device to pinned memory of the host: taken now, as the stream's order has it, and given when somebody waits
// or asks a second time.
class LateCopy final : public Work {
 public:
  LateCopy(void* to, const void* from, std::size_t bytes)
      : to_(to), taken_(static_cast<const char*>(from), static_cast<const char*>(from) + bytes) {}

  bool done() override {
    if (!asked_) {
      asked_ = true;
      return false;
    }
    finish();
    return true;
  }
  void finish() override {
    std::call_once(given_, [&] { std::memcpy(to_, taken_.data(), taken_.size()); });
  }
  bool for_the_host() const override { return true; }

 private:
  void* to_;
  std::vector<char> taken_;
  std::once_flag given_;
  bool asked_ = false;
};

const char* direction(const void* to, const void* from) {
  if (on_device(to)) {
    if (on_device(from)) return "copy D2D";
    return is_pinned(from) ? "copy H2D pinned" : "copy H2D";
  }
  if (!on_device(from)) return "copy H2H";
  return is_pinned(to) ? "copy D2H pinned" : "copy D2H";
}

// Where device memory is addresses alone: small copies from the host, so that facts which ranks tell each other through
// their GPUs come back as they went. All else that comes back is zeros, and of what is large nothing comes.
class Remembered {
 public:
  void write(const void* to, const void* from, std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    forget(to, bytes);
    if (bytes <= kMost) known_[static_cast<const char*>(to)] = std::string(static_cast<const char*>(from), bytes);
  }

  void read(void* to, const void* from, std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    if (bytes > kLarge) return;
    auto* out = static_cast<char*>(to);
    const auto* first = static_cast<const char*>(from);
    std::memset(out, 0, bytes);
    for (auto at = known_.lower_bound(first); at != known_.end() && at->first < first + bytes; ++at) {
      const auto offset = static_cast<std::size_t>(at->first - first);
      at->second.copy(out + offset, bytes - offset);
    }
  }

  void move(const void* to, const void* from, std::size_t bytes) {
    if (bytes > kMost) return;
    std::string taken(bytes, '\0');
    read(taken.data(), from, bytes);
    write(to, taken.data(), bytes);
  }

 private:
  static constexpr std::size_t kMost = std::size_t{1} << 16U;
  static constexpr std::size_t kLarge = std::size_t{1} << 20U;

  void forget(const void* to, std::size_t bytes) {
    const auto* first = static_cast<const char*>(to);
    known_.erase(known_.lower_bound(first), known_.lower_bound(first + bytes));
  }

  std::mutex mutex_;
  std::map<const char*, std::string> known_;
};

Remembered& remembered() {
  static auto* made = new Remembered;
  return *made;
}

void carry_over(void* to, const void* from, std::size_t bytes) {
  if (memory_is_there() || (!on_device(to) && !on_device(from))) {
    std::memmove(to, from, bytes);
  } else if (on_device(to)) {
    on_device(from) ? remembered().move(to, from, bytes) : remembered().write(to, from, bytes);
  } else {
    remembered().read(to, from, bytes);
  }
}

cudaError_t copy(void* to, const void* from, std::size_t bytes, cudaStream_t stream) {
  STAND_IN_UNLESS_BROKEN();
  count(direction(to, from), bytes);
  const bool late = memory_is_there() && on_device(from) && is_pinned(to);
  if (on_device(to) && !on_device(from)) {
    settle(stream);  // the host's memory as the stream has left it
  } else {
    catch_up(stream);
  }
  if (late) {
    put(stream, std::make_shared<LateCopy>(to, from, bytes));
  } else {
    carry_over(to, from, bytes);
  }
  return cudaSuccess;
}

cudaError_t fill(void* at, int value, std::size_t bytes, cudaStream_t stream) {
  STAND_IN_UNLESS_BROKEN();
  count("memset", bytes);
  catch_up(stream);
  if (memory_is_there()) std::memset(at, value, bytes);
  return cudaSuccess;
}

}  // namespace
}  // namespace nightreel::stand_in

using namespace nightreel::stand_in;

STAND_IN_API cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind,
                                         cudaStream_t stream) {
  return copy(to, from, bytes, stream);
}

STAND_IN_API cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind) {
  count("sync cudaMemcpy");
  const cudaError_t error = copy(to, from, bytes, nullptr);
  settle(nullptr);
  return error;
}

STAND_IN_API cudaError_t cudaMemcpyPeerAsync(void* to, int, const void* from, int, std::size_t bytes,
                                             cudaStream_t stream) {
  return copy(to, from, bytes, stream);
}

STAND_IN_API cudaError_t cudaMemsetAsync(void* at, int value, std::size_t bytes, cudaStream_t stream) {
  return fill(at, value, bytes, stream);
}

STAND_IN_API cudaError_t cudaMemset(void* at, int value, std::size_t bytes) {
  return fill(at, value, bytes, nullptr);
}

STAND_IN_API cudaError_t cudaMemcpyToSymbol(const void*, const void*, std::size_t, std::size_t, cudaMemcpyKind) {
  return broken();
}
