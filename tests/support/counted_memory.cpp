#include "support/counted_memory.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>

namespace nightreel::test {

namespace {

constexpr std::size_t kHeader = 64;  // before each block: its size
std::atomic<std::int64_t> live{0};
std::atomic<std::int64_t> most_live{0};

void release(void* memory) {
  auto* block = static_cast<char*>(memory) - kHeader;
  std::int64_t bytes = 0;
  std::memcpy(&bytes, block, sizeof(bytes));
  live -= bytes;
  std::free(block);
}

struct Counting final : c10::Allocator {
  c10::DataPtr allocate(std::size_t bytes) override {
    auto* block = static_cast<char*>(std::aligned_alloc(kHeader, (bytes / kHeader + 2) * kHeader));
    const auto size = static_cast<std::int64_t>(bytes);
    std::memcpy(block, &size, sizeof(size));
    most_live = std::max<std::int64_t>(most_live, live += size);
    return {block + kHeader, block + kHeader, &release, c10::Device(c10::DeviceType::CPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, std::size_t bytes) const override { std::memcpy(to, from, bytes); }
};

constexpr std::uint8_t kAboveDefault = 1;

c10::Allocator* before = nullptr;

}  // namespace

CountedMemory::CountedMemory() {
  static Counting counting;
  before = c10::GetCPUAllocator();
  c10::SetCPUAllocator(&counting, kAboveDefault);
}

CountedMemory::~CountedMemory() {
  c10::SetCPUAllocator(before, kAboveDefault);
}

void CountedMemory::start() {
  live = 0;
  most_live = 0;
}

std::size_t CountedMemory::most() const {
  return static_cast<std::size_t>(most_live);
}

}  // namespace nightreel::test
