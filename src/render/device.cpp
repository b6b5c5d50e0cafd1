#include "nightreel/render/device.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cstdlib>

#include "nightreel/media/library_versions.h"
#include "nightreel/memory/model.h"
#include "nightreel/pipeline/device.h"
#include "nightreel/pipeline/gpu_memory.h"

#ifdef NIGHTREEL_CUDA
#include <ATen/cuda/CUDAContextLight.h>
#endif

namespace nightreel::render {

protocol::Json engine_versions() {
  protocol::Json versions = pipeline::compute_versions();
  for (const auto& [library, version] : media::library_versions()) versions[library] = version;
  return versions;
}

void describe_device(at::Device device, protocol::ReadyEvent& facts) {
  facts.versions = engine_versions();
  facts.cpu_capability = at::get_cpu_capability();
  facts.threads = at::get_num_threads();
  facts.device = "cpu";
#ifdef NIGHTREEL_CUDA
  if (device.is_cuda()) {
    const auto* properties = at::cuda::getDeviceProperties(0);
    facts.device = properties->name;
    facts.memory_bytes = properties->totalGlobalMem;
    facts.allocator = memory::name(pipeline::allocator_of(device));
    const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
    facts.device_uuid = visible == nullptr ? "" : visible;
  }
#else
  static_cast<void>(device);
#endif
}

}  // namespace nightreel::render
