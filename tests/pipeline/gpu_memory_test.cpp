// How a GPU's memory is taken, as far as it can be told without one, and how much of the host's there is.
#include "nightreel/pipeline/gpu_memory.h"
#include "nightreel/memory/model.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <fstream>
#include <sstream>

#include "pipeline/host_memory.h"
#include "support/temp_folder.h"

using namespace nightreel;
using pipeline::host_memory_for;

namespace {

constexpr std::uint64_t kGiB = std::uint64_t{1} << 30U;

/// Nine tenths of what is there.
std::uint64_t room(std::uint64_t bytes) {
  return bytes / 10 * 9;
}

/// A host with 64 GiB, of which 32 are available.
void write_host(const test::TempFolder& root) {
  root.write("proc/meminfo", "MemTotal:       67108864 kB\nMemFree:         1000000 kB\nMemAvailable:   33554432 kB\n");
}

void write_group(const test::TempFolder& root, const std::string& group, const std::string& most, std::uint64_t used,
                 std::uint64_t cached) {
  root.write("sys/fs/cgroup" + group + "/memory.max", most + "\n");
  root.write("sys/fs/cgroup" + group + "/memory.current", std::to_string(used) + "\n");
  root.write("sys/fs/cgroup" + group + "/memory.stat", "anon 5\ninactive_file " + std::to_string(cached / 2) +
                                                           "\nactive_file " + std::to_string(cached / 2) + "\n");
}

/// The flags of the mapping that begins at `address`.
std::string flags_of(const void* address) {
  std::ostringstream start;
  start << std::hex << reinterpret_cast<std::uintptr_t>(address) << "-";
  std::ifstream maps("/proc/self/smaps");
  bool here = false;
  for (std::string line; std::getline(maps, line);) {
    here = here || line.rfind(start.str(), 0) == 0;
    if (here && line.rfind("VmFlags:", 0) == 0) return line + " ";
  }
  return "";
}

}  // namespace

TEST_CASE("expandable segments are added to what a user says of the allocator, unless that is about them") {
  CHECK(pipeline::with_expandable_segments("") == "expandable_segments:True");
  CHECK(pipeline::with_expandable_segments("max_split_size_mb:128") ==
        "max_split_size_mb:128,expandable_segments:True");
  for (const char* said : {"expandable_segments:False", "expandable_segments:True", "backend:cudaMallocAsync",
                           "max_split_size_mb:128,expandable_segments:False"}) {
    CAPTURE(said);
    CHECK_FALSE(pipeline::with_expandable_segments(said));
  }
}

TEST_CASE("on a CPU no allocator is chosen, and no memory is planned with") {
  pipeline::choose_allocator(at::kCPU);
  CHECK((pipeline::allocator_of(at::kCPU) == memory::Allocator::exact));
  CHECK_NOTHROW(pipeline::release_unused(at::kCPU));
  CHECK_NOTHROW(pipeline::release_all_unused(at::kCPU));
  CHECK(pipeline::memory_to_plan_with(at::kCPU) == 0);
}

TEST_CASE("renderers share what the host has available in equal parts") {
  const test::TempFolder root;
  CHECK(host_memory_for(1, root.path()) == 0);  // nothing is known
  write_host(root);
  CHECK(host_memory_for(1, root.path()) == room(32 * kGiB));
  CHECK(host_memory_for(8, root.path()) == room(32 * kGiB) / 8);
  CHECK(host_memory_for(1) > 0);  // this host
}

TEST_CASE("what a host could ever give is its memory, or less by a cgroup's limit") {
  const test::TempFolder root;
  CHECK(pipeline::host_memory_limit(root.path()) == 0);
  write_host(root);
  CHECK(pipeline::host_memory_limit(root.path()) == 64 * kGiB);
  root.write("proc/self/cgroup", "0::/pods/pod1\n");
  write_group(root, "/pods/pod1", "max", 5 * kGiB, 0);
  write_group(root, "/pods", std::to_string(24 * kGiB), 23 * kGiB, 0);
  CHECK(pipeline::host_memory_limit(root.path()) == 24 * kGiB);
  CHECK(pipeline::host_memory_limit() > 0);  // this host
}

TEST_CASE("a cgroup's limit counts, its own and those above, and cached files make room") {
  const test::TempFolder root;
  write_host(root);
  root.write("proc/self/cgroup", "0::/pods/pod1\n");
  write_group(root, "/pods/pod1", "max", 5 * kGiB, 0);
  CHECK(host_memory_for(1, root.path()) == room(32 * kGiB));
  write_group(root, "/pods", std::to_string(24 * kGiB), 10 * kGiB, 2 * kGiB);
  CHECK(host_memory_for(1, root.path()) == room(16 * kGiB));
  write_group(root, "/pods/pod1", std::to_string(8 * kGiB), 5 * kGiB, 1 * kGiB);
  CHECK(host_memory_for(2, root.path()) == room(4 * kGiB) / 2);
  write_group(root, "/pods/pod1", std::to_string(4 * kGiB), 5 * kGiB, 0);  // over it: nothing is left
  CHECK(host_memory_for(1, root.path()) == 1);
}

TEST_CASE("a container sees its own limit at the top, and cgroups of version 1 are read too") {
  const test::TempFolder root;
  write_host(root);
  root.write("proc/self/cgroup", "0::/\n");
  write_group(root, "", std::to_string(8 * kGiB), 2 * kGiB, 0);
  CHECK(host_memory_for(1, root.path()) == room(6 * kGiB));

  const test::TempFolder old;
  write_host(old);
  old.write("proc/self/cgroup", "11:cpu,cpuacct:/a\n4:memory:/a\n1:name=systemd:/a\n");
  old.write("sys/fs/cgroup/memory/a/memory.limit_in_bytes", std::to_string(8 * kGiB));
  old.write("sys/fs/cgroup/memory/a/memory.usage_in_bytes", std::to_string(3 * kGiB));
  old.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712");
  old.write("sys/fs/cgroup/memory/memory.usage_in_bytes", std::to_string(3 * kGiB));
  CHECK(host_memory_for(1, old.path()) == room(5 * kGiB));
}

TEST_CASE("children do not have the memory that weights wait in") {
  const pipeline::HostMemory memory(std::size_t{8} << 20U, false);
  CHECK(flags_of(memory.at(0)).find(" dc ") != std::string::npos);
}
