// The flags with which a model is loaded, the same for render, generate and decode.
#pragma once

#include <CLI/CLI.hpp>

#include "nightreel/base/clock.h"
#include "nightreel/render/video_maker.h"

namespace nightreel::app {

inline void add_memory_flag(CLI::App& sub, std::uint64_t& bytes) {
  sub.add_option_function<std::string>(
      "--gpu-memory", [&bytes](const std::string& size) { bytes = base::parse_size(size); },
      "plan for so much, e.g. 24GB; default: what the GPU has, no limit on a CPU");
}

/// Returns the option --model, which is required.
inline CLI::Option* add_maker_flags(CLI::App& sub, render::MakerOptions& options) {
  CLI::Option* model = sub.add_option("--model,--ckpt-dir", options.model,
                                      "folder of a Wan model, in Diffusers' layout or the original one")
                           ->required();
  sub.add_option("--device", options.device, "auto, cpu, cuda or cuda:GPU-<uuid>")->capture_default_str();
  sub.add_option("--dtype", options.dtype,
                 "auto (bf16 on a GPU, f32 on a CPU), bf16, f32, or fp8: auto, with weights in fp8")
      ->capture_default_str();
  sub.add_option("--threads", options.threads, "CPU threads")->check(CLI::Range(1, 1024))->capture_default_str();
  add_memory_flag(sub, options.gpu_memory);
  return model;
}

}  // namespace nightreel::app
