// Which of a component's tensors make it what it is: those that count in its digest and go into every layout.
#pragma once

#include <string>

#include "nightreel/weights/tensor_list.h"
#include "nightreel/weights/weights.h"

namespace nightreel::weights {

/// Of the component that `list` is of. False for the second of two copies, and for strays.
bool counts(const TensorList& list, const std::string& name, const WeightMap& weights);

/// The one name by which it counts, of those that the libraries' versions give it; a scale goes with its matrix.
std::string counted_name(const TensorList& list, const std::string& name);

}  // namespace nightreel::weights
