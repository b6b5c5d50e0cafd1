// The GPUs of this host, as the driver's management library (NVML) sees them: no CUDA context, no CUDA library.
//
// Nvml owns the library, loaded at run time so that the same program starts where there is no driver. One thread at a
// time. A library that is there and does not work is base::Error{environment} with NVML's own text; one that is not
// there, or has no driver in the kernel, is no error: there are then no GPUs. Devices are told apart by UUID, never by
// index.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace nightreel::cluster {

/// Reads a variable of the environment; std::nullopt where it is not set. A parameter, so that tests can give one.
using Environment = std::function<std::optional<std::string>(const std::string&)>;
Environment process_environment();

/// What one renderer can be given: a GPU, or one MIG slice of it.
struct GpuDevice {
  std::string uuid;  // "GPU-…" or "MIG-…"
  std::string name;
  std::uint64_t memory_bytes = 0;
  std::string board = {};  // of a slice: the UUID of the GPU that it is a part of
  bool operator==(const GpuDevice&) const = default;
};

/// One physical GPU. In MIG mode it can be used through its slices alone.
struct Gpu {
  GpuDevice device;
  bool mig_mode = false;
  std::vector<GpuDevice> slices;
};

class Nvml {
 public:
  /// Loads libnvidia-ml.so.1, or what NIGHTREEL_NVML_LIBRARY names (for tests only).
  explicit Nvml(const Environment& environment);
  ~Nvml();
  Nvml(const Nvml&) = delete;
  Nvml& operator=(const Nvml&) = delete;

  /// False where this host has no driver.
  bool available() const;
  /// "580.65.06"; empty where there is no driver.
  std::string driver_version() const;
  /// Of CUDA, that the driver speaks: 13000 is 13.0; 0 where it does not say.
  int cuda_version() const;
  /// In NVML's order, which is that of the PCI bus.
  std::vector<Gpu> gpus() const;
  /// Processes that compute on the GPU, or the slice, `uuid`, as the driver's own process namespace numbers them: in a
  /// container they need not be this process's numbers.
  std::vector<pid_t> processes(const std::string& uuid) const;

 private:
  struct Library;
  std::unique_ptr<Library> library_;
};

/// `gpus` cut down as CUDA does it by CUDA_VISIBLE_DEVICES: indices, UUIDs or unique beginnings of them, MIG UUIDs; the
/// first invalid entry ends the list; a device named twice leaves none; empty hides all; not set shows all. An index is
/// NVML's (CUDA_DEVICE_ORDER=PCI_BUS_ID, which is what launchers mean). A GPU in MIG mode stands for its slices.
std::vector<GpuDevice> visible_devices(const std::vector<Gpu>& gpus, const std::optional<std::string>& cuda_visible);

}  // namespace nightreel::cluster
