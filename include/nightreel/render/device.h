// What a renderer tells about the device that it computes on (pipeline/device.h).
#pragma once

#include <ATen/core/Tensor.h>

#include "nightreel/protocol/message.h"

namespace nightreel::render {

/// Fills device, device_uuid, memory_bytes, cpu_capability, threads and versions.
void describe_device(at::Device device, protocol::ReadyEvent& facts);

/// pipeline::compute_versions() and the media libraries: what `version` and `probe` tell.
protocol::Json engine_versions();

}  // namespace nightreel::render
