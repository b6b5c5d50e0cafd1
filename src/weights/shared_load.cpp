#include "nightreel/weights/shared_load.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <sstream>

#include "nightreel/card/checkpoint.h"
#include "nightreel/comm/texts.h"
#include "nightreel/weights/digest.h"
#include "weights/counted_names.h"

namespace nightreel::weights {

SharedLoad::SharedLoad(comm::Communicator& group, at::Device device, ListOf lists, std::int64_t buffer)
    : group_(group),
      device_(device),
      reader_(group, device, buffer),
      lists_(std::move(lists)),
      hashed_(static_cast<std::size_t>(group.size())) {}

SharedLoad::~SharedLoad() = default;

at::Tensor SharedLoad::read(const std::string& component, const WeightMap& weights, const std::string& name) {
  const at::Tensor tensor = reader_.read(weights.tensor(name));
  hash(component, weights, name, tensor);
  return tensor;
}

const TensorList& SharedLoad::list_of(const std::string& component) {
  const auto found = list_of_.find(component);
  return found != list_of_.end() ? found->second : list_of_.emplace(component, lists_(component)).first->second;
}

// Whoever has hashed least takes the next one; every rank knows who that is.
void SharedLoad::hash(const std::string& component, const WeightMap& weights, const std::string& name,
                      const at::Tensor& tensor) {
  const TensorList& list = list_of(component);
  if (!seen_.emplace(component, name).second || !counts(list, name, weights)) return;
  const auto least = std::min_element(hashed_.begin(), hashed_.end());
  *least += tensor.nbytes();
  if (least - hashed_.begin() != group_.rank()) return;
  if (hashing_.valid()) lines_.push_back(hashing_.get());
  hashing_ = std::async(std::launch::async, [component, counted = counted_name(list, name),
                                             stored = weights.stored(name), tensor] {
    const at::Tensor here = tensor.cpu().contiguous();
    return digest_line(component, counted, stored, {static_cast<const char*>(here.const_data_ptr()), here.nbytes()});
  });
}

std::string SharedLoad::digest(const std::string& folder) {
  for (const std::string& component : card::components_of(folder)) {
    const WeightMap weights = WeightMap::open(folder + "/" + component);
    const TensorList& list = list_of(component);
    for (const std::string& name : weights.names()) {
      if (counts(list, name, weights) && seen_.count({component, name}) == 0) read(component, weights, name);
    }
  }
  if (hashing_.valid()) lines_.push_back(hashing_.get());
  std::string own;
  for (const std::string& line : lines_) own += line;
  std::vector<std::string> lines;
  for (const std::string& text : comm::all_gather_texts(group_, device_, own)) {
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) lines.push_back(line + "\n");
  }
  return digest_of_lines(std::move(lines));
}

std::uint64_t stored_bytes(const std::string& folder) {
  std::uint64_t bytes = 0;
  for (const std::string& component : card::components_of(folder)) {
    const WeightMap weights = WeightMap::open(folder + "/" + component);
    for (const std::string& name : weights.names()) bytes += weights.stored(name).bytes;
  }
  return bytes;
}

}  // namespace nightreel::weights
