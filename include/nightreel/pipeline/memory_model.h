// What a memory plan (memory/plan.h) needs to know of a checkpoint, from its card and the headers of its weights.
//
// Reads no tensor; any thread. A folder that is no model of this version throws base::Error{model} naming the file.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

#include "nightreel/card/card.h"
#include "nightreel/memory/model.h"

namespace nightreel::model {
class Vae;
}

namespace nightreel::pipeline {

struct Precision {
  at::ScalarType dtype = at::kBFloat16;  // of everything but the VAE, which computes in float32
  bool gpu = true;
  std::optional<bool> keep_keys;                                // as PipelineOptions'
  bool fp8 = false;                                             //
  memory::Allocator allocator = memory::Allocator::expandable;  // of a GPU
  bool fp8_products = false;                                    // the device multiplies in fp8
};

/// As a renderer computes on `device`, whose allocator has been chosen (gpu_memory.h).
Precision precision_on(at::Device device, at::ScalarType dtype, bool fp8 = false,
                       const std::optional<bool>& keep_keys = std::nullopt);

/// The checkpoint as Pipeline::load() would hold it.
memory::MemoryModel memory_model(const card::Card& card, const Precision& precision);

/// A VAE alone, for decoding.
memory::MemoryModel vae_memory_model(model::Vae& vae, memory::Allocator allocator);

/// On a CPU all prompts' keys are kept, and both prompts go through as one batch: memory is plenty there, arithmetic
/// dear.
bool keeps_keys(const std::optional<bool>& wanted, bool gpu);

}  // namespace nightreel::pipeline
