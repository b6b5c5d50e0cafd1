// Plans in words and in JSON, and what would fit instead.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "nightreel/base/error.h"
#include "nightreel/job/memory.h"

namespace nightreel::job {
namespace {

using nlohmann::json;
using settings::Settings;
using Experts = MemoryPlan::Experts;

const std::string kFp8 = "--dtype fp8";
constexpr std::array<std::string_view, 3> kAllocators{"none", "expandable_segments", "default"};

template <class Config>
json or_null(const std::optional<Config>& config) {
  return config ? card::to_json(*config) : json();
}

// What `parse` makes of a part that may be absent.
template <class Parse>
auto part_from(const json& j, const Parse& parse) {
  using Config = decltype(parse(j, ""));
  return j.is_null() ? std::optional<Config>() : std::optional<Config>(parse(j, "memory"));
}

Allocator allocator_from(const json& j) {
  const auto* found = std::find(kAllocators.begin(), kAllocators.end(), j.get<std::string>());
  if (found == kAllocators.end()) {
    throw base::Error(base::ErrorKind::internal, "memory: allocator: " + base::printable(j.dump()) + " is unknown");
  }
  return static_cast<Allocator>(found - kAllocators.begin());
}

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

// Where a device multiplies in fp8, a piece of a layer's input is rounded at a time (kPiece in src/ops/quantised.cpp,
// 11 bytes an element).
constexpr std::uint64_t kQuantisedPiece = 11ULL << 24U;

// Where a device does not multiply in fp8 a layer's weight is brought to float32, then to what it computes in. The
// largest is that of queries, keys and values together, or of the feed-forward network.
std::uint64_t unpacked_bytes(const MemoryModel& model) {
  if (model.fp8_products) return kQuantisedPiece;
  if (!model.transformer) return 0;
  const std::int64_t width = model.transformer->width();
  const std::int64_t numbers = width * std::max(3 * width, model.transformer->ffn_dim);
  const std::int64_t copies = model.element_bytes == sizeof(float) ? 0 : model.element_bytes;
  return static_cast<std::uint64_t>(numbers * (static_cast<std::int64_t>(sizeof(float)) + copies));
}

}  // namespace

std::string_view name(Allocator allocator) {
  return kAllocators.at(static_cast<std::size_t>(allocator));
}

std::string_view name(Part part) {
  constexpr std::array<std::string_view, 5> kNames{"text_encoder", "image_encoder", "transformer", "transformer_2",
                                                   "vae"};
  return kNames.at(static_cast<std::size_t>(part));
}

MemoryModel in_fp8(MemoryModel model) {
  const std::uint64_t saved = model.linear_weights * static_cast<std::uint64_t>(model.element_bytes - 1);
  for (const Part part : {Part::transformer, Part::transformer_2}) {
    std::uint64_t& bytes = model.weights.at(static_cast<std::size_t>(part));
    if (bytes > saved) bytes = bytes - saved + model.linear_rows * sizeof(float);
  }
  if (model.block_weights > saved) model.block_weights += model.linear_rows * sizeof(float) - saved;
  model.unpacked = unpacked_bytes(model);
  model.linear_weights = 0;
  model.linear_rows = 0;
  return model;
}

MemoryModel in_shards(MemoryModel model, std::int64_t ranks) {
  const auto count = static_cast<std::uint64_t>(ranks);
  const std::uint64_t others = model.block_weights - (model.block_weights + count - 1) / count;
  for (const Part part : {Part::transformer, Part::transformer_2}) {
    std::uint64_t& bytes = model.weights.at(static_cast<std::size_t>(part));
    if (bytes > others) bytes -= others;
  }
  model.block_weights -= others;
  model.linear_weights /= count;
  model.linear_rows /= count;
  model.shards *= ranks;
  return model;
}

json to_json(const MemoryModel& m) {
  return {{"gpu", m.gpu},
          {"allocator", name(m.allocator)},
          {"element_bytes", m.element_bytes},
          {"both_prompts", m.both_prompts},
          {"keep_keys", m.keep_keys},
          {"transformer", or_null(m.transformer)},
          {"vae", card::to_json(m.vae)},
          {"text", or_null(m.text)},
          {"clip", or_null(m.clip)},
          {"weights", m.weights},
          {"host_weights", m.host_weights},
          {"linear_weights", m.linear_weights},
          {"linear_rows", m.linear_rows},
          {"fp8_products", m.fp8_products},
          {"unpacked", m.unpacked},
          {"block_weights", m.block_weights},
          {"shards", m.shards},
          {"group", m.group}};
}

MemoryModel memory_model_from_json(const json& j) {
  MemoryModel m;
  try {
    j.at("gpu").get_to(m.gpu);
    m.allocator = allocator_from(j.at("allocator"));
    j.at("element_bytes").get_to(m.element_bytes);
    j.at("both_prompts").get_to(m.both_prompts);
    j.at("keep_keys").get_to(m.keep_keys);
    m.transformer = part_from(j.at("transformer"), card::parse_transformer_config);
    m.vae = card::parse_vae_config(j.at("vae"), "memory");
    m.text = part_from(j.at("text"), card::parse_umt5_config);
    m.clip = part_from(j.at("clip"), card::parse_clip_vision_config);
    j.at("weights").get_to(m.weights);
    j.at("host_weights").get_to(m.host_weights);
    j.at("linear_weights").get_to(m.linear_weights);
    j.at("linear_rows").get_to(m.linear_rows);
    j.at("fp8_products").get_to(m.fp8_products);
    j.at("unpacked").get_to(m.unpacked);
    j.at("block_weights").get_to(m.block_weights);
    j.at("shards").get_to(m.shards);
    j.at("group").get_to(m.group);
  } catch (const json::exception& e) {
    throw base::Error(base::ErrorKind::internal, "memory: " + base::printable(e.what()));
  } catch (const base::Error& e) {
    throw base::Error(base::ErrorKind::internal, e.what());  // this program's own words, not a checkpoint's
  }
  if (m.shards > 0 && m.group > 0) return m;
  throw base::Error(base::ErrorKind::internal, "memory: sizes that no model has");
}

json to_json(const DeviceMemory& memory) {
  return {{"model", to_json(memory.model)},
          {"bytes", memory.bytes},
          {"failed", memory.failed},
          {"host_bytes", memory.host_bytes}};
}

DeviceMemory device_memory_from_json(const json& j) {
  if (j.is_null()) return {};
  const auto bytes = j.is_object() ? j.find("bytes") : j.end();
  if (bytes == j.end() || !bytes->is_number_unsigned()) {
    throw base::Error(base::ErrorKind::internal, "memory: bytes: missing or no size");
  }
  DeviceMemory memory{memory_model_from_json(j.value("model", json())), bytes->get<std::uint64_t>()};
  try {
    memory.failed = j.value("failed", StageBytes());
    memory.host_bytes = j.value("host_bytes", std::uint64_t{0});
  } catch (const json::exception& e) {
    throw base::Error(base::ErrorKind::internal, "memory: " + base::printable(e.what()));
  }
  return memory;
}

std::string to_text(const StageBytes& bytes) {
  std::string text;
  for (const auto& [stage, needed] : bytes) {
    text += (text.empty() ? "" : ",") + stage + "=" + std::to_string(needed);
  }
  return text;
}

StageBytes stage_bytes(const std::string& text) {
  StageBytes bytes;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find(',', at), text.size());
    const std::string entry = text.substr(at, end - at);
    const std::size_t equals = entry.find('=');
    const std::string digits = equals == std::string::npos ? "" : entry.substr(equals + 1);
    const bool number =
        !digits.empty() && digits.size() < 19 && digits.find_first_not_of("0123456789") == std::string::npos;
    if (equals == 0 || !number) {
      throw base::Error(base::ErrorKind::usage, "'" + base::printable(entry, 40) + "': needs STAGE=BYTES");
    }
    bytes[entry.substr(0, equals)] = std::stoull(digits);
    at = end + 1;
  }
  return bytes;
}

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

}  // namespace nightreel::job
