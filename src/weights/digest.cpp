#include "nightreel/weights/digest.h"

#include <algorithm>

#include "nightreel/base/hash.h"
#include "nightreel/card/checkpoint.h"
#include "weights/counted_names.h"

namespace nightreel::weights {

std::string digest_line(const std::string& component, const std::string& name, const StoredTensor& stored,
                        std::string_view bytes) {
  std::string shape;
  for (const std::int64_t size : stored.shape) shape += (shape.empty() ? "" : ", ") + std::to_string(size);
  return component + " " + name + " " + std::string(tensorfile::name(stored.type)) + " [" + shape + "] " +
         base::xxh128_hex(bytes) + "\n";
}

std::vector<std::string> digest_lines(const std::string& component, const TensorList& list, const WeightMap& weights,
                                      std::size_t part, std::size_t parts, const base::CancelToken& cancel) {
  std::vector<std::string> names = weights.names();
  const auto left_out = [&](const std::string& name) { return !counts(list, name, weights); };
  names.erase(std::remove_if(names.begin(), names.end(), left_out), names.end());
  std::vector<std::string> lines;
  for (std::size_t i = part; i < names.size(); i += parts) {
    cancel.throw_if_cancelled();
    const std::string& name = names[i];
    lines.push_back(digest_line(component, counted_name(list, name), weights.stored(name), weights.bytes(name)));
  }
  return lines;
}

std::string digest_of_lines(std::vector<std::string> lines) {
  std::sort(lines.begin(), lines.end());
  base::Xxh128 hash;
  for (const std::string& line : lines) hash.update(line.data(), line.size());
  return hash.hex_digest();
}

std::string checkpoint_digest(const std::string& folder, const ListOf& lists, const base::CancelToken& cancel) {
  std::vector<std::string> lines;
  for (const std::string& component : card::components_of(folder)) {
    const WeightMap weights = WeightMap::open(folder + "/" + component);
    for (std::string& line : digest_lines(component, lists(component), weights, 0, 1, cancel)) {
      lines.push_back(std::move(line));
    }
  }
  return digest_of_lines(std::move(lines));
}

}  // namespace nightreel::weights
