// A stand-in for libnvidia-ml.so.1, for machines without a GPU: NIGHTREEL_NVML_LIBRARY names this library and
// NIGHTREEL_FAKE_NVML a JSON file that says what it reports:
//   {"default": [GPU…], "hosts": {"b": [GPU…]}, "ranks": {"1": [GPU…]}, "fail": 18, "cuda": 13000,
//    "hang": ["1"], "stop": ["1"]}
//   GPU: {"uuid": …, "name": …, "memory": bytes, "pids": [...], "mig": [{"uuid": …, "memory": …, "pids": […]}]}
// The first of ranks[OMPI_COMM_WORLD_RANK], hosts[NIGHTREEL_HOSTNAME], default holds; none of them: no GPU.
// "hang": ranks whose nvmlInit never returns, as with a dead driver; "stop": ranks that it stops, as a host would
// freeze. "fail": what nvmlInit returns: 18 as with a driver that was updated under a running kernel, 9 where none is
// loaded.
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

namespace {

using Json = nlohmann::json;

struct Device {
  std::string uuid;
  std::string name;
  unsigned long long memory = 0;
  std::vector<unsigned> pids;
  bool mig = false;
  std::vector<Device*> slices;
};

struct Memory {
  unsigned long long total, free, used;
};
struct Process {
  unsigned pid;
  unsigned long long used_memory;
  unsigned gpu_instance, compute_instance;
};

// The library is C: what it knows between init and shutdown is held here.
struct Machine {
  std::deque<Device> store;
  std::vector<Device*> gpus;
  int cuda = 0;
};
Machine* machine = nullptr;

Device* add(Machine& made, const Json& entry) {
  Device device;
  device.uuid = entry.at("uuid").get<std::string>();
  device.name = entry.value("name", "Stand-in GPU");
  device.memory = entry.value("memory", 24ULL << 30U);
  device.pids = entry.value("pids", std::vector<unsigned>{});
  device.mig = entry.contains("mig");
  made.store.push_back(device);
  Device* const kept = &made.store.back();
  for (const Json& slice : entry.value("mig", Json::array())) kept->slices.push_back(add(made, slice));
  return kept;
}

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

Json choose(const Json& config) {
  const Json ranks = config.value("ranks", Json::object());
  const Json hosts = config.value("hosts", Json::object());
  const std::string rank = variable("OMPI_COMM_WORLD_RANK");
  const std::string host = variable("NIGHTREEL_HOSTNAME");
  if (ranks.contains(rank)) return ranks.at(rank);
  if (hosts.contains(host)) return hosts.at(host);
  return config.value("default", Json::array());
}

Device* device_of(void* handle) {
  return static_cast<Device*>(handle);
}

int put(const std::string& text, char* out, unsigned size) {
  if (text.size() >= size) return 7;
  std::memcpy(out, text.c_str(), text.size() + 1);
  return 0;
}

}  // namespace

extern "C" {

int nvmlInit_v2() {
  std::ifstream file(variable("NIGHTREEL_FAKE_NVML"));
  const Json config = Json::parse(file, nullptr, false);
  if (config.is_discarded()) return 999;
  for (const Json& rank : config.value("hang", Json::array())) {
    while (rank == variable("OMPI_COMM_WORLD_RANK")) pause();
  }
  for (const Json& rank : config.value("stop", Json::array())) {
    if (rank == variable("OMPI_COMM_WORLD_RANK")) kill(getpid(), SIGSTOP);
  }
  if (config.contains("fail")) return config.at("fail").get<int>();
  machine = new Machine;
  machine->cuda = config.value("cuda", 13000);
  for (const Json& entry : choose(config)) machine->gpus.push_back(add(*machine, entry));
  return 0;
}

int nvmlShutdown() {
  delete machine;
  machine = nullptr;
  return 0;
}

const char* nvmlErrorString(int code) {
  return code == 18 ? "Driver/library version mismatch" : "Stand-in error";
}

int nvmlSystemGetDriverVersion(char* out, unsigned size) {
  return put("580.0", out, size);
}

int nvmlSystemGetCudaDriverVersion_v2(int* version) {
  *version = machine->cuda;
  return 0;
}

int nvmlDeviceGetCount_v2(unsigned* count) {
  *count = static_cast<unsigned>(machine->gpus.size());
  return 0;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void** handle) {
  if (index >= machine->gpus.size()) return 2;
  *handle = machine->gpus[index];
  return 0;
}

int nvmlDeviceGetHandleByUUID(const char* uuid, void** handle) {
  for (Device& device : machine->store) {
    if (device.uuid != uuid) continue;
    *handle = &device;
    return 0;
  }
  return 6;
}

int nvmlDeviceGetUUID(void* handle, char* out, unsigned size) {
  return put(device_of(handle)->uuid, out, size);
}
int nvmlDeviceGetName(void* handle, char* out, unsigned size) {
  return put(device_of(handle)->name, out, size);
}

int nvmlDeviceGetMemoryInfo(void* handle, Memory* out) {
  *out = {device_of(handle)->memory, device_of(handle)->memory, 0};
  return 0;
}

int nvmlDeviceGetMigMode(void* handle, unsigned* current, unsigned* pending) {
  *current = *pending = device_of(handle)->mig ? 1 : 0;
  return 0;
}

int nvmlDeviceGetMaxMigDeviceCount(void*, unsigned* count) {
  *count = 7;
  return 0;
}

int nvmlDeviceGetMigDeviceHandleByIndex(void* handle, unsigned index, void** slice) {
  // Every second number is a gap, as after slices were destroyed.
  const auto& slices = device_of(handle)->slices;
  if (index % 2 == 0 || index / 2 >= slices.size()) return 6;
  *slice = slices[index / 2];
  return 0;
}

int nvmlDeviceGetComputeRunningProcesses_v3(void* handle, unsigned* count, Process* out) {
  const auto& pids = device_of(handle)->pids;
  const bool fits = pids.size() <= *count;
  *count = static_cast<unsigned>(pids.size());
  if (!fits) return 7;
  for (std::size_t i = 0; i < pids.size(); ++i) out[i] = {pids[i], 0, 0, 0};
  return 0;
}
}
