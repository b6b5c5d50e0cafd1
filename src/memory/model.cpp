#include "nightreel/memory/model.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "nightreel/base/error.h"
#include "nightreel/memory/sizes.h"

namespace nightreel::memory {
namespace {

using nlohmann::json;

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

// Where a device multiplies in fp8, a piece of a layer's input is rounded at a time. Elsewhere a layer's weight is
// brought to float32, then to what it computes in. The largest is that of queries, keys and values together, or of the
// feed-forward network.
std::uint64_t unpacked_bytes(const MemoryModel& model) {
  if (model.fp8_products) return static_cast<std::uint64_t>(kQuantisedPiece * kQuantisedBytes);
  if (!model.transformer) return 0;
  const std::int64_t width = model.transformer->width();
  const std::int64_t numbers = width * std::max(3 * width, model.transformer->ffn_dim);
  const std::int64_t copies = model.element_bytes == sizeof(float) ? 0 : model.element_bytes;
  return static_cast<std::uint64_t>(numbers * (static_cast<std::int64_t>(sizeof(float)) + copies));
}

}  // namespace

std::uint64_t MemoryModel::gathered() const {
  if (shards == 1 || !transformer) return 0;
  return 2 * block_weights * static_cast<std::uint64_t>(shards) / static_cast<std::uint64_t>(transformer->num_layers);
}

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

}  // namespace nightreel::memory
