// The only file that calls NVML. Its functions are declared here, as its documentation gives them (their names carry
// their version, so they do not change), because its header comes with CUDA, which ranks do without.
#include "nightreel/cluster/gpu.h"

#include <dlfcn.h>

#include <array>
#include <cstdlib>

#include "nightreel/base/error.h"

namespace nightreel::cluster {
namespace {

using base::Error;
using base::ErrorKind;

using Handle = void*;
constexpr int kSuccess = 0;
constexpr int kNotSupported = 3;
constexpr int kNotFound = 6;
constexpr int kInsufficientSize = 7;
constexpr int kDriverNotLoaded = 9;
constexpr unsigned kMigEnabled = 1;

}  // namespace

struct Nvml::Library {
  struct Close {
    void operator()(void* library) const { ::dlclose(library); }
  };
  struct Memory {
    unsigned long long total, free, used;
  };
  struct Process {
    unsigned pid;
    unsigned long long used_memory;
    unsigned gpu_instance, compute_instance;
  };
  std::unique_ptr<void, Close> object;
  int (*init)() = nullptr;
  int (*shutdown)() = nullptr;
  const char* (*error_string)(int) = nullptr;
  int (*driver_version)(char*, unsigned) = nullptr;
  int (*cuda_version)(int*) = nullptr;  // null: an old driver
  int (*count)(unsigned*) = nullptr;
  int (*by_index)(unsigned, Handle*) = nullptr;
  int (*by_uuid)(const char*, Handle*) = nullptr;
  int (*uuid)(Handle, char*, unsigned) = nullptr;
  int (*name)(Handle, char*, unsigned) = nullptr;
  int (*memory)(Handle, Memory*) = nullptr;
  int (*mig_mode)(Handle, unsigned*, unsigned*) = nullptr;
  int (*max_slices)(Handle, unsigned*) = nullptr;
  int (*slice)(Handle, unsigned, Handle*) = nullptr;
  int (*processes)(Handle, unsigned*, Process*) = nullptr;
  bool started = false;

  ~Library() {
    if (started) shutdown();
  }

  template <typename Function>
  void find(Function& function, const char* symbol) {
    function = reinterpret_cast<Function>(::dlsym(object.get(), symbol));
    if (function == nullptr) throw Error(ErrorKind::environment, std::string("NVML has no ") + symbol + ": old driver");
  }

  void find_all() {
    find(init, "nvmlInit_v2");
    find(shutdown, "nvmlShutdown");
    find(error_string, "nvmlErrorString");
    find(driver_version, "nvmlSystemGetDriverVersion");
    cuda_version = reinterpret_cast<decltype(cuda_version)>(::dlsym(object.get(), "nvmlSystemGetCudaDriverVersion_v2"));
    find(count, "nvmlDeviceGetCount_v2");
    find(by_index, "nvmlDeviceGetHandleByIndex_v2");
    find(by_uuid, "nvmlDeviceGetHandleByUUID");
    find(uuid, "nvmlDeviceGetUUID");
    find(name, "nvmlDeviceGetName");
    find(memory, "nvmlDeviceGetMemoryInfo");
    find(mig_mode, "nvmlDeviceGetMigMode");
    find(max_slices, "nvmlDeviceGetMaxMigDeviceCount");
    find(slice, "nvmlDeviceGetMigDeviceHandleByIndex");
    find(processes, "nvmlDeviceGetComputeRunningProcesses_v3");
  }

  void check(int code, const std::string& what) const {
    if (code == kSuccess) return;
    throw Error(ErrorKind::environment, "NVML: " + what + ": " + base::printable(error_string(code)));
  }

  GpuDevice describe(Handle device) const {
    std::array<char, 96> text{};
    GpuDevice out;
    check(uuid(device, text.data(), text.size()), "cannot read a GPU's UUID");
    out.uuid = base::printable(text.data());
    check(name(device, text.data(), text.size()), "cannot read the name of " + out.uuid);
    out.name = base::printable(text.data());
    Memory bytes{};
    const int code = memory(device, &bytes);
    // Unified-memory boards (GB10, Jetson) have no memory of their own to report.
    if (code != kNotSupported) check(code, "cannot read the memory of " + out.uuid);
    out.memory_bytes = bytes.total;
    return out;
  }

  void add_slices(Handle device, Gpu& gpu) const {
    unsigned current = 0;
    unsigned pending = 0;
    const int code = mig_mode(device, &current, &pending);
    if (code == kNotSupported) return;
    check(code, "cannot read the MIG mode of " + gpu.device.uuid);
    gpu.mig_mode = current == kMigEnabled;
    unsigned most = 0;
    if (gpu.mig_mode) check(max_slices(device, &most), "cannot count the MIG slices of " + gpu.device.uuid);
    for (unsigned i = 0; i < most; ++i) {
      Handle part = nullptr;
      const int found = slice(device, i, &part);
      if (found == kNotFound) continue;  // slices are numbered with gaps
      check(found, "cannot open a MIG slice of " + gpu.device.uuid);
      gpu.slices.push_back(describe(part));
      gpu.slices.back().board = gpu.device.uuid;
    }
  }
};

Environment process_environment() {
  return [](const std::string& name) -> std::optional<std::string> {
    const char* value = std::getenv(name.c_str());
    return value == nullptr ? std::nullopt : std::optional<std::string>(value);
  };
}

Nvml::Nvml(const Environment& environment) : library_(std::make_unique<Library>()) {
  const auto given = environment("NIGHTREEL_NVML_LIBRARY");
  const std::string path = given ? *given : "libnvidia-ml.so.1";
  library_->object.reset(::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL));
  if (!library_->object && given) {
    throw Error(ErrorKind::environment, "NIGHTREEL_NVML_LIBRARY: " + base::printable(::dlerror()));
  }
  if (!library_->object) return;
  library_->find_all();
  const int code = library_->init();
  if (code == kDriverNotLoaded) return;  // the package is installed, the host has no GPU
  library_->check(code, "cannot start");
  library_->started = true;
}

Nvml::~Nvml() = default;

bool Nvml::available() const {
  return library_->started;
}

std::string Nvml::driver_version() const {
  if (!available()) return "";
  std::array<char, 96> text{};
  library_->check(library_->driver_version(text.data(), text.size()), "cannot read the driver's version");
  return base::printable(text.data());
}

int Nvml::cuda_version() const {
  int version = 0;
  const bool asked = available() && library_->cuda_version != nullptr;
  return asked && library_->cuda_version(&version) == kSuccess ? version : 0;
}

std::vector<Gpu> Nvml::gpus() const {
  std::vector<Gpu> all;
  if (!available()) return all;
  unsigned count = 0;
  library_->check(library_->count(&count), "cannot count the GPUs");
  for (unsigned i = 0; i < count; ++i) {
    Handle device = nullptr;
    library_->check(library_->by_index(i, &device), "cannot open GPU " + std::to_string(i));
    Gpu gpu;
    gpu.device = library_->describe(device);
    library_->add_slices(device, gpu);
    all.push_back(std::move(gpu));
  }
  return all;
}

std::vector<pid_t> Nvml::processes(const std::string& uuid) const {
  if (!available()) throw Error(ErrorKind::environment, "no NVIDIA driver on this host");
  Handle device = nullptr;
  library_->check(library_->by_uuid(uuid.c_str(), &device), "cannot open " + base::printable(uuid));
  std::vector<Library::Process> found(16);
  while (true) {
    unsigned count = static_cast<unsigned>(found.size());
    const int code = library_->processes(device, &count, found.data());
    if (code != kInsufficientSize) library_->check(code, "cannot list the processes on " + base::printable(uuid));
    if (code == kSuccess) {
      found.resize(count);
      break;
    }
    found.resize(static_cast<std::size_t>(count) + found.size());
  }
  std::vector<pid_t> pids;
  for (const Library::Process& one : found) pids.push_back(static_cast<pid_t>(one.pid));
  return pids;
}

}  // namespace nightreel::cluster
