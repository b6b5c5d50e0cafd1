#include "nightreel/weights/tensor_list.h"

#include <algorithm>

namespace nightreel::weights {

TensorList::TensorList(std::vector<ListedTensor> tensors) : tensors_(std::move(tensors)) {
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    places_.emplace(tensors_[i].name, i);
    if (!tensors_[i].also.empty()) places_.emplace(tensors_[i].also, i);
  }
}

bool TensorList::as_stored() const {
  return !tensors_.empty() &&
         std::all_of(tensors_.begin(), tensors_.end(), [](const ListedTensor& tensor) { return tensor.as_stored; });
}

const ListedTensor* TensorList::find(const std::string& name) const {
  const auto found = places_.find(name);
  return found == places_.end() ? nullptr : &tensors_[found->second];
}

}  // namespace nightreel::weights
