#include "support/counted_memory.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>

namespace nightreel::test {

namespace {

constexpr std::size_t kBlockHeader = 64;  // before each block: its size
std::atomic<std::int64_t> counted{0};
std::atomic<std::int64_t> most_counted{0};

void give_back(void* memory) {
  auto* block = static_cast<char*>(memory) - kBlockHeader;
  std::int64_t bytes = 0;
  std::memcpy(&bytes, block, sizeof(bytes));
  counted -= bytes;
  std::free(block);
}

struct Counting final : c10::Allocator {
  c10::DataPtr allocate(std::size_t bytes) override {
    auto* block = static_cast<char*>(std::aligned_alloc(kBlockHeader, (bytes / kBlockHeader + 2) * kBlockHeader));
    const auto size = static_cast<std::int64_t>(bytes);
    std::memcpy(block, &size, sizeof(size));
    most_counted = std::max<std::int64_t>(most_counted, counted += size);
    return {block + kBlockHeader, block + kBlockHeader, &give_back, c10::Device(c10::DeviceType::CPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &give_back; }
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
  counted = 0;
  most_counted = 0;
}

std::size_t CountedMemory::most() const {
  return static_cast<std::size_t>(most_counted);
}

}  // namespace nightreel::test
