#include "nightreel/model/digest.h"

#include <algorithm>

#include "model/counted_names.h"
#include "nightreel/base/hash.h"
#include "nightreel/card/checkpoint.h"

namespace nightreel::model {

std::string digest_line(const std::string& component, const std::string& name, const StoredTensor& stored,
                        std::string_view bytes) {
  std::string shape;
  for (const std::int64_t size : stored.shape) shape += (shape.empty() ? "" : ", ") + std::to_string(size);
  return component + " " + counted_name(component, name) + " " + std::string(tensorfile::name(stored.type)) + " [" +
         shape + "] " + base::xxh128_hex(bytes) + "\n";
}

std::vector<std::string> digest_lines(const std::string& component, const WeightMap& weights, std::size_t part,
                                      std::size_t parts, const base::CancelToken& cancel) {
  std::vector<std::string> names = weights.names();
  const auto left_out = [&](const std::string& name) { return !counts(component, name, weights); };
  names.erase(std::remove_if(names.begin(), names.end(), left_out), names.end());
  std::vector<std::string> lines;
  for (std::size_t i = part; i < names.size(); i += parts) {
    cancel.throw_if_cancelled();
    lines.push_back(digest_line(component, names[i], weights.stored(names[i]), weights.bytes(names[i])));
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
  for (const std::string& component : card::components_of(folder)) {
    for (std::string& line : digest_lines(component, WeightMap::open(folder + "/" + component), 0, 1, cancel)) {
      lines.push_back(std::move(line));
    }
  }
  return digest_of_lines(std::move(lines));
}

}  // namespace nightreel::model
