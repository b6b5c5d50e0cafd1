#include "nightreel/cluster/gpu.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdlib>

#include "cluster/environment.h"
#include "nightreel/base/error.h"
#include "nightreel/base/file.h"

using namespace nightreel;
using cluster::Environment;
using cluster::Gpu;
using test::environment_of;

namespace {

// The stand-in reading `json`; the file is gone after the object.
class FakeNvml {
 public:
  explicit FakeNvml(const std::string& json) : path_("fake_nvml_" + std::to_string(::getpid()) + ".json") {
    base::replace_file(path_, json);
    ::setenv("NIGHTREEL_FAKE_NVML", path_.c_str(), 1);
  }
  FakeNvml(const FakeNvml&) = delete;
  FakeNvml& operator=(const FakeNvml&) = delete;
  ~FakeNvml() { base::remove_file(path_); }
  static Environment environment() { return environment_of({{"NIGHTREEL_NVML_LIBRARY", FAKE_NVML_PATH}}); }

 private:
  std::string path_;
};

Gpu gpu(const std::string& uuid) {
  return {{uuid, "A", 1}, false, {}};
}

std::string uuids(const std::vector<cluster::GpuDevice>& devices) {
  std::string text;
  for (const auto& device : devices) text += (text.empty() ? "" : " ") + device.uuid;
  return text;
}

}  // namespace

TEST_CASE("CUDA_VISIBLE_DEVICES cuts the list down as CUDA does") {
  const std::vector<Gpu> four{gpu("GPU-aa10"), gpu("GPU-aa20"), gpu("GPU-bb30"), gpu("GPU-cc40")};
  struct Case {
    std::optional<std::string> visible;
    const char* expected;
  };
  const std::vector<Case> cases{
      {std::nullopt, "GPU-aa10 GPU-aa20 GPU-bb30 GPU-cc40"},
      {"", ""},
      {"2", "GPU-bb30"},
      {"3,0", "GPU-cc40 GPU-aa10"},
      {" 1 , 2 ", "GPU-aa20 GPU-bb30"},
      {"0,9,1", "GPU-aa10"},
      {"0,-1,1", "GPU-aa10"},
      {"-1", ""},
      {"1,x", "GPU-aa20"},
      {"1,,2", "GPU-aa20"},
      {"99999999999999999999", ""},
      {"GPU-bb30", "GPU-bb30"},
      {"GPU-cc,GPU-aa1", "GPU-cc40 GPU-aa10"},
      {"GPU-aa,1", ""},
      {"GPU-zz", ""},
      {"0,GPU-bb30", "GPU-aa10 GPU-bb30"},
      {"1,1", ""},
      {"0,GPU-aa10", ""},
      {"NoDevFiles", ""},
  };
  for (const Case& one : cases) {
    CAPTURE(one.visible.value_or("(not set)"));
    CHECK(uuids(cluster::visible_devices(four, one.visible)) == one.expected);
  }
}

TEST_CASE("a GPU in MIG mode stands for its slices, which have names of their own") {
  const Gpu mig{{"GPU-aa10", "A", 1}, true, {{"MIG-1", "s", 1}, {"MIG-2", "s", 1}}};
  const std::vector<Gpu> gpus{mig, gpu("GPU-bb20")};
  CHECK(uuids(cluster::visible_devices(gpus, std::nullopt)) == "MIG-1 MIG-2 GPU-bb20");
  CHECK(uuids(cluster::visible_devices(gpus, "0")) == "MIG-1 MIG-2");
  CHECK(uuids(cluster::visible_devices(gpus, "MIG-2,1")) == "MIG-2 GPU-bb20");
  CHECK(uuids(cluster::visible_devices(gpus, "MIG-")) == "");
  CHECK(uuids(cluster::visible_devices(gpus, "MIG-3")) == "");
}

TEST_CASE("NVML's devices, slices and processes are read through the library") {
  std::string pids;
  for (int i = 1; i <= 40; ++i) pids += (i == 1 ? "" : ",") + std::to_string(i);
  const FakeNvml fake(R"({"default": [{"uuid": "GPU-1", "name": "H", "memory": 5, "pids": [)" + pids + R"(]},
    {"uuid": "GPU-2", "mig": [{"uuid": "MIG-7", "memory": 3, "pids": [8]}, {"uuid": "MIG-8"}]}]})");
  const cluster::Nvml nvml(FakeNvml::environment());
  CHECK(nvml.available());
  CHECK(nvml.driver_version() == "580.0");
  const auto gpus = nvml.gpus();
  REQUIRE(gpus.size() == 2);
  CHECK(gpus[0].device == cluster::GpuDevice{"GPU-1", "H", 5});
  CHECK_FALSE(gpus[0].mig_mode);
  CHECK(gpus[1].mig_mode);
  CHECK(uuids(gpus[1].slices) == "MIG-7 MIG-8");
  CHECK(gpus[1].slices[0].memory_bytes == 3);
  CHECK(gpus[0].device.board.empty());
  CHECK(gpus[1].slices[1].board == "GPU-2");
  CHECK(nvml.processes("GPU-1").size() == 40);
  CHECK(nvml.processes("GPU-1").back() == 40);
  CHECK(nvml.processes("MIG-7") == std::vector<pid_t>{8});
  CHECK(nvml.processes("MIG-8").empty());
  CHECK_THROWS_WITH_AS(nvml.processes("GPU-9"), doctest::Contains("cannot open GPU-9"), base::Error);
}

TEST_CASE("a driver that does not work is an error with its own words") {
  const FakeNvml fake(R"({"fail": 18})");
  CHECK_THROWS_WITH_AS(cluster::Nvml{FakeNvml::environment()}, doctest::Contains("Driver/library version mismatch"),
                       base::Error);
  CHECK_THROWS_AS(cluster::Nvml{environment_of({{"NIGHTREEL_NVML_LIBRARY", "/no/such.so"}})}, base::Error);
  CHECK_THROWS_WITH_AS(cluster::Nvml{environment_of({{"NIGHTREEL_NVML_LIBRARY", "libm.so.6"}})},
                       doctest::Contains("NVML has no nvmlInit_v2"), base::Error);
}

TEST_CASE("a library without a driver, as on a login node, means no GPU") {
  const FakeNvml fake(R"({"fail": 9})");
  const cluster::Nvml nvml(FakeNvml::environment());
  CHECK_FALSE(nvml.available());
  CHECK(nvml.gpus().empty());
  CHECK(nvml.driver_version() == "");
  CHECK_THROWS_AS(nvml.processes("GPU-1"), base::Error);
}
