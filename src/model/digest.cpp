#include "nightreel/model/digest.h"

#include <algorithm>
#include <filesystem>

#include "nightreel/base/hash.h"

namespace nightreel::model {

namespace {

constexpr const char* kShared = "shared.weight";
constexpr const char* kTied = "encoder.embed_tokens.weight";  // UMT5: the same tensor by another name

std::string line(const std::string& component, const std::string& name, const WeightMap& weights) {
  const StoredTensor& stored = weights.stored(name);
  std::string shape;
  for (const std::int64_t size : stored.shape) shape += (shape.empty() ? "" : ", ") + std::to_string(size);
  const std::string& shown = name == kTied ? kShared : name;
  return component + " " + shown + " " + stored.dtype + " [" + shape + "] " + base::xxh128_hex(weights.bytes(name)) +
         "\n";
}

}  // namespace

std::vector<std::string> digest_lines(const std::string& component, const WeightMap& weights, std::size_t part,
                                      std::size_t parts, const base::CancelToken& cancel) {
  std::vector<std::string> names = weights.names();
  if (weights.has(kShared)) names.erase(std::remove(names.begin(), names.end(), kTied), names.end());
  std::vector<std::string> lines;
  for (std::size_t i = part; i < names.size(); i += parts) {
    cancel.throw_if_cancelled();
    lines.push_back(line(component, names[i], weights));
  }
  return lines;
}

std::string digest_of_lines(std::vector<std::string> lines) {
  std::sort(lines.begin(), lines.end());
  base::Xxh128 hash;
  for (const std::string& line : lines) hash.update(line.data(), line.size());
  return hash.hex_digest();
}

std::string model_digest(const std::string& folder, const base::CancelToken& cancel) {
  std::vector<std::string> lines;
  for (const std::string component : {"image_encoder", "text_encoder", "transformer", "transformer_2", "vae"}) {
    if (!std::filesystem::is_directory(folder + "/" + component)) continue;
    for (std::string& line : digest_lines(component, WeightMap::open(folder + "/" + component), 0, 1, cancel)) {
      lines.push_back(std::move(line));
    }
  }
  return digest_of_lines(std::move(lines));
}

}  // namespace nightreel::model
