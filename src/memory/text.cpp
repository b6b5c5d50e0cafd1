#include "nightreel/memory/text.h"

#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>
#include <optional>

namespace nightreel::memory {
namespace {

using nlohmann::json;
using settings::Settings;
using Experts = MemoryPlan::Experts;

const std::string kFp8 = "--dtype fp8";

bool fits(const MemoryModel& model, const Settings& settings, std::uint64_t memory) {
  return plan_memory(model, settings, memory).fits;
}

std::array<std::int64_t, 3> patch_of(const MemoryModel& model) {
  return model.transformer.value_or(card::TransformerConfig()).patch_size;
}

std::optional<Settings> fewer_frames(const MemoryModel& model, Settings s, std::uint64_t memory) {
  const std::int64_t step = model.vae.scale_factor_temporal * patch_of(model)[0];
  for (s.num_frames -= step; s.num_frames > 0; s.num_frames -= step) {
    if (fits(model, s, memory)) return s;
  }
  return std::nullopt;
}

// Of about the same shape, in sixteenths of its sides.
std::optional<Settings> smaller(const MemoryModel& model, const Settings& given, std::uint64_t memory) {
  const std::int64_t rows = model.vae.scale_factor_spatial * patch_of(model)[1];
  const std::int64_t columns = model.vae.scale_factor_spatial * patch_of(model)[2];
  for (std::int64_t sixteenths = 15; sixteenths > 0; --sixteenths) {
    Settings s = given;
    s.height = given.height * sixteenths / 16 / rows * rows;
    s.width = given.width * sixteenths / 16 / columns * columns;
    if (s.height == 0 || s.width == 0) return std::nullopt;
    if (fits(model, s, memory)) return s;
  }
  return std::nullopt;
}

std::string size_text(const Settings& s) {
  return fmt::format("{}x{}, {} frames", s.height, s.width, s.num_frames);
}

std::string fate(const MemoryPlan& plan, Part part) {
  if (plan.stays(part)) return "stays on the GPU";
  switch (part) {
    case Part::text_encoder:
      return "leaves the GPU once the prompts are encoded";
    case Part::image_encoder:
      return "leaves the GPU once the pictures are encoded";
    case Part::vae:
      return "on the GPU while it codes pictures, else on the host";
    default:
      break;
  }
  if (plan.experts == Experts::leave) return "on the GPU while it denoises, else on the host";
  return fmt::format("takes turns with the other expert, once for up to {} videos", kWave);
}

}  // namespace

std::vector<std::string> what_would_fit(const MemoryModel& model, const Settings& settings, std::uint64_t memory) {
  std::vector<std::string> out;
  if (const auto s = smaller(model, settings, memory)) out.push_back(size_text(*s));
  if (const auto s = fewer_frames(model, settings, memory)) out.push_back(size_text(*s));
  if (model.linear_weights == 0) return out;  // in fp8 already
  const MemoryModel narrow = in_fp8(model);
  if (fits(narrow, settings, memory)) {
    out.push_back(kFp8);
  } else if (out.empty()) {
    if (const auto s = smaller(narrow, settings, memory)) out.push_back(kFp8 + " with " + size_text(*s));
  }
  return out;
}

std::string human_bytes(std::uint64_t bytes) {
  const auto value = static_cast<double>(bytes);
  if (bytes >= 1000000000) return fmt::format("{:.1f} GB", value / 1e9);
  if (bytes >= 1000000) return fmt::format("{:.1f} MB", value / 1e6);
  return fmt::format("{:.1f} kB", value / 1e3);
}

std::string summary(const MemoryPlan& plan, const Settings& settings) {
  const auto& peak = plan.peak();
  std::string text =
      fmt::format("{} need{} {} ({}: weights {}, beside them {})", size_text(settings), plan.fits ? "" : " at least",
                  human_bytes(peak.bytes()), peak.name, human_bytes(peak.weights), human_bytes(peak.activations));
  if (plan.memory > 0) {
    text += fmt::format(" of {}, {} to use", human_bytes(plan.memory), human_bytes(plan.usable));
  }
  if (!plan.fits) return text;
  if (plan.encoders_leave) text += "; encoders leave once they are done";
  if (plan.experts == Experts::take_turns) text += "; experts take turns";
  if (plan.experts == Experts::leave) text += "; transformers leave while others work";
  if (plan.vae_leaves) text += "; the VAE leaves while others work";
  if (plan.tiled.encode) text += "; pictures are encoded in tiles";
  if (plan.tiled.decode) text += "; decoded in tiles";
  if (plan.moved > 0) text += fmt::format("; {} of weights on the host", human_bytes(plan.host));
  return text;
}

std::vector<std::string> describe(const MemoryModel& model, const MemoryPlan& plan, const Settings& settings) {
  std::vector<std::string> lines{(plan.fits ? "fits: " : "does not fit: ") + summary(plan, settings)};
  for (const Part part : kParts) {
    if (model.of(part) == 0) continue;
    lines.push_back(fmt::format("{:<14} {:>9}  {}", name(part), human_bytes(model.of(part)), fate(plan, part)));
  }
  if (model.host_weights > 0) {
    lines.push_back(fmt::format("{:<14} {:>9}  stays on the host", "embedding", human_bytes(model.host_weights)));
  }
  if (model.shards > 1) {
    lines.push_back(fmt::format("{:<14} {:>9}  of blocks, from {} ranks' shards, while it denoises", "gathered",
                                human_bytes(model.gathered()), model.shards));
  }
  for (const auto& stage : plan.stages) {
    std::string how;
    if (stage.name == "picture" && plan.tiled.encode) how = ", in tiles";
    if (stage.name == "decode" && plan.tiled.decode) how = ", in tiles";
    lines.push_back(fmt::format("{:<14} {:>9}  weights {}, beside them {}{}", stage.name, human_bytes(stage.bytes()),
                                human_bytes(stage.weights), human_bytes(stage.activations), how));
  }
  lines.push_back(fmt::format("{:<14} {:>9}  of weights, {} of them to the GPU for each video", "on the host",
                              human_bytes(plan.host), human_bytes(plan.moved)));
  return lines;
}

json to_json(const MemoryPlan& plan) {
  constexpr std::array<const char*, 3> kExperts{"stay", "take_turns", "leave"};
  json stages = json::object();
  for (const auto& s : plan.stages) {
    stages[s.name] = {{"weights", s.weights}, {"activations", s.activations}, {"tensors", s.tensors}};
  }
  return {{"memory", plan.memory},
          {"usable", plan.usable},
          {"fits", plan.fits},
          {"encoders_leave", plan.encoders_leave},
          {"experts", kExperts.at(static_cast<std::size_t>(plan.experts))},
          {"vae_leaves", plan.vae_leaves},
          {"tiled_encode", plan.tiled.encode},
          {"tiled_decode", plan.tiled.decode},
          {"wave", plan.wave()},
          {"stages", stages},
          {"peak", plan.peak().bytes()},
          {"host", plan.host},
          {"moved", plan.moved}};
}

}  // namespace nightreel::memory
