#include "nightreel/weights/check.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "nightreel/base/error.h"
#include "nightreel/card/checkpoint.h"
#include "nightreel/weights/tensor_bytes.h"
#include "nightreel/weights/weights.h"
#include "weights/scalar_type.h"

namespace nightreel::weights {

namespace {

using base::Error;

/// Numbers whose exponent has all bits set. The bytes need not be aligned.
template <class Bits>
std::uint64_t count_exponents(std::string_view bytes, Bits exponent) {
  std::uint64_t count = 0;
  for (std::size_t at = 0; at + sizeof(Bits) <= bytes.size(); at += sizeof(Bits)) {
    Bits bits;
    std::memcpy(&bits, bytes.data() + at, sizeof bits);
    count += (bits & exponent) == exponent ? 1U : 0U;
  }
  return count;
}

void compare_shapes(const ListedTensor& listed, const WeightMap& weights, std::vector<CheckProblem>& problems) {
  const std::string wanted = shape_text(listed.shape);
  if (!weights.has(weights.name_of(listed))) {
    problems.push_back({"missing", listed.name, "the model needs it, " + wanted});
  }
  for (const std::string& name : std::set<std::string>{listed.name, listed.also}) {
    if (name.empty() || !weights.has(name) || weights.stored(name).shape == listed.shape) continue;
    problems.push_back({"misshapen", name, shape_text(weights.stored(name).shape) + " instead of " + wanted});
  }
}

/// Where a file has a tensor by both of its names.
void compare_copies(const ListedTensor& listed, const WeightMap& weights, std::vector<CheckProblem>& problems) {
  if (listed.also.empty() || !weights.has(listed.name) || !weights.has(listed.also)) return;
  const bool same_type = weights.stored(listed.name).type == weights.stored(listed.also).type;
  if (same_type && weights.bytes(listed.name) == weights.bytes(listed.also)) return;
  problems.push_back({"unreadable", listed.also, "differs from " + listed.name + "; they are tied"});
}

bool belongs(const TensorList& list, const std::string& name) {
  if (list.find(name) != nullptr) return true;
  const std::string scale = WeightMap::scale_name("");
  return name.ends_with(scale) && list.find(name.substr(0, name.size() - scale.size())) != nullptr;
}

void compare(const TensorList& list, const WeightMap& weights, std::vector<CheckProblem>& problems) {
  for (const ListedTensor& listed : list.tensors()) {
    if (listed.use == Use::stray) continue;
    compare_shapes(listed, weights, problems);
    compare_copies(listed, weights, problems);
  }
  std::sort(problems.begin(), problems.end(), [](const auto& a, const auto& b) { return a.tensor < b.tensor; });
  for (const std::string& name : weights.names()) {
    if (!belongs(list, name)) problems.push_back({"surplus", name, "not part of this model"});
  }
}

void check_scale(const WeightMap& weights, const std::string& name, std::vector<CheckProblem>& problems) {
  const std::string scale = WeightMap::scale_name(name);
  if (!weights.has(scale)) problems.push_back({"missing", scale, "the scale of an fp8 tensor"});
}

void read_tensor(const TensorList& list, const WeightMap& weights, const std::string& name,
                 std::vector<CheckProblem>& problems) {
  const StoredTensor& stored = weights.stored(name);
  const ListedTensor* listed = list.find(name);
  const bool wanted = listed != nullptr && listed->use != Use::stray;
  if (wanted && !scalar_type(stored.type)) {
    const std::string type(tensorfile::name(stored.type));
    problems.push_back({"unreadable", name, "dtype " + type + " is not supported"});
  }
  if (wanted && stored.type == StoredType::f8_e4m3) check_scale(weights, name, problems);
  const std::uint64_t broken = count_not_finite(stored.type, weights.bytes(name));
  if (broken > 0) problems.push_back({"not_finite", name, std::to_string(broken) + " numbers are NaN or infinite"});
  weights.release(name);
}

}  // namespace

std::uint64_t count_not_finite(StoredType type, std::string_view bytes) {
  switch (type) {
    case StoredType::f32:
      return count_exponents<std::uint32_t>(bytes, 0x7f800000);
    case StoredType::bf16:
      return count_exponents<std::uint16_t>(bytes, 0x7f80);
    case StoredType::f16:
      return count_exponents<std::uint16_t>(bytes, 0x7c00);
    case StoredType::f64:
      return count_exponents<std::uint64_t>(bytes, 0x7ff0000000000000);
    case StoredType::f8_e4m3:
      return count_exponents<std::uint8_t>(bytes, 0x7f);  // only NaN: it has no infinity
    case StoredType::f8_e5m2:
      return count_exponents<std::uint8_t>(bytes, 0x7c);
    default:
      return 0;
  }
}

std::vector<CheckedComponent> check_checkpoint(const std::string& folder, const ListOf& lists,
                                               const std::function<void(std::uint64_t bytes)>& progress,
                                               const base::CancelToken& cancel) {
  std::vector<CheckedComponent> components;
  std::uint64_t bytes = 0;
  for (const std::string& component : card::components_of(folder)) {
    CheckedComponent& checked = components.emplace_back();
    checked.name = component;
    try {
      const WeightMap weights = WeightMap::open(folder + "/" + component);
      const TensorList list = lists(component);
      compare(list, weights, checked.problems);
      for (const std::string& name : weights.names()) {
        cancel.throw_if_cancelled();
        if (progress) progress(bytes);
        read_tensor(list, weights, name, checked.problems);
        checked.tensors += 1;
        checked.dtypes[std::string(tensorfile::name(weights.stored(name).type))] += 1;
        checked.bytes += weights.stored(name).bytes;
        bytes += weights.stored(name).bytes;
      }
    } catch (const Error& e) {
      if (e.kind() != base::ErrorKind::model) throw;
      checked.problems.push_back({"unreadable", "", e.what()});
    }
  }
  return components;
}

}  // namespace nightreel::weights
