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
                                      const base::CancelToken& cancel) {
  std::vector<std::string> lines;
  for (const std::string& name : weights.names()) {
    if (!counts(list, name, weights)) continue;
    cancel.throw_if_cancelled();
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
    for (std::string& line : digest_lines(component, lists(component), weights, cancel)) {
      lines.push_back(std::move(line));
    }
  }
  return digest_of_lines(std::move(lines));
}

}  // namespace nightreel::weights
