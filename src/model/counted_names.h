// Which of a component's tensors make it what it is: those that count in its digest and go into every layout.
#pragma once

#include <string>

#include "nightreel/model/weights.h"

namespace nightreel::model {

/// False for the second of two tied copies, and for what some layouts hold and no module uses.
bool counts(const std::string& component, const std::string& name, const WeightMap& weights);

/// The one name by which it counts, of those that the libraries' versions give it.
std::string counted_name(const std::string& component, const std::string& name);

}  // namespace nightreel::model
