#include "weights/counted_names.h"

namespace nightreel::weights {

bool counts(const TensorList& list, const std::string& name, const WeightMap& weights) {
  const ListedTensor* listed = list.find(name);
  if (listed == nullptr) return true;
  return listed->use != Use::stray && name == weights.name_of(*listed);
}

std::string counted_name(const TensorList& list, const std::string& name) {
  if (const ListedTensor* listed = list.find(name)) return listed->name;
  const std::string scale = WeightMap::scale_name("");
  if (!name.ends_with(scale)) return name;
  const ListedTensor* matrix = list.find(name.substr(0, name.size() - scale.size()));
  return matrix == nullptr ? name : WeightMap::scale_name(matrix->name);
}

}  // namespace nightreel::weights
