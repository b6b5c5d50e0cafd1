#include <algorithm>
#include <array>
#include <utility>

#include "nightreel/settings/flags.h"

namespace nightreel::settings {
namespace {

constexpr std::string_view kModel = "name the checkpoint's folder with --model: what it is made for stands in it";
constexpr std::string_view kMemory = "leave it out: what stays on the GPU is planned; --gpu-memory gives the plan less";
constexpr std::string_view kGroup =
    "leave it out: several GPUs make one video with `mpirun … nightreel run --ranks-per-video N`, and --shard-weights "
    "shares out the transformer";
constexpr std::string_view kPrompt = "prompts are used as they are written: extend them before";
constexpr std::string_view kKind = "models of this kind are not rendered yet";
constexpr std::string_view kDtype = "write --dtype auto, bf16, f32 or fp8";
constexpr std::string_view kLoras = "write --loras with a JSON list, as docs/jobs.md has it";

// generate.py of Wan 2.1 and 2.2; arguments of diffusers' Wan pipelines and of scripts around them.
constexpr std::array<std::pair<std::string_view, std::string_view>, 47> kForeign{{
    {"task", kModel},
    {"model-id", kModel},
    {"model-path", kModel},
    {"pretrained-model-name-or-path", kModel},
    {"offload-model", kMemory},
    {"t5-cpu", kMemory},
    {"enable-model-cpu-offload", kMemory},
    {"enable-sequential-cpu-offload", kMemory},
    {"enable-vae-tiling", kMemory},
    {"ulysses-size", kGroup},
    {"ring-size", kGroup},
    {"dit-fsdp", kGroup},
    {"t5-fsdp", kGroup},
    {"use-prompt-extend", kPrompt},
    {"prompt-extend-method", kPrompt},
    {"prompt-extend-model", kPrompt},
    {"prompt-extend-target-lang", kPrompt},
    {"convert-model-dtype", kDtype},
    {"torch-dtype", kDtype},
    {"lora-path", kLoras},
    {"lora-scale", kLoras},
    {"lora-weights", kLoras},
    {"src-video", kKind},
    {"src-mask", kKind},
    {"src-ref-images", kKind},
    {"src-root-path", kKind},
    {"refert-num", kKind},
    {"replace-flag", kKind},
    {"use-relighting-lora", kKind},
    {"audio", kKind},
    {"enable-tts", kKind},
    {"tts-prompt-audio", kKind},
    {"tts-prompt-text", kKind},
    {"tts-text", kKind},
    {"pose-video", kKind},
    {"num-clip", kKind},
    {"start-from-ref", kKind},
    {"infer-frames", kKind},
    {"num-videos-per-prompt", "a video has a job of its own: give each a --seed"},
    {"generator", "write --seed"},
    {"output-type", "write --archive latents or frames with --archive-file FILE.h5"},
    {"max-sequence-length", "leave it out: it is 512, as in diffusers"},
    {"scheduler", "write --sampler unipc, dpm++ or euler"},
    {"timesteps", "write --sigmas, the noise levels themselves"},
    {"aspect-ratio", "write --height and --width"},
    {"resolution", "write --height and --width"},
    {"duration", "write --num-frames: seconds times --fps, plus 1"},
}};

}  // namespace

std::string_view foreign_flag(std::string_view name) {
  const auto* found =
      std::find_if(kForeign.begin(), kForeign.end(), [&](const auto& one) { return one.first == name; });
  return found == kForeign.end() ? std::string_view() : found->second;
}

}  // namespace nightreel::settings
