#include "nightreel/model/check.h"

#include <ATen/ATen.h>

#include <cstring>

#include "model/scalar_type.h"
#include "model/tensor_bytes.h"
#include "nightreel/base/error.h"
#include "nightreel/card/checkpoint.h"
#include "nightreel/model/clip_vision.h"
#include "nightreel/model/transformer.h"
#include "nightreel/model/umt5.h"
#include "nightreel/model/vae.h"
#include "nightreel/model/weights.h"

namespace nightreel::model {

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

/// Makes the component's module without numbers: `weights` then lists what it took.
void list_wanted(const std::string& folder, const std::string& component, WeightMap& weights) {
  const std::string place = folder + "/" + component;
  const at::Device none(at::kMeta);
  weights.only_list();
  if (component == "vae") {
    Vae(card::read_vae_config(place), weights, none, at::kFloat);
  } else if (component == "text_encoder") {
    Umt5Encoder(card::read_umt5_config(place), weights, none, at::kFloat);
  } else if (component == "image_encoder") {
    ClipVision(card::read_clip_vision_config(place), {}, weights, none, at::kFloat);
  } else {
    Transformer(card::read_transformer_config(place), weights, none, at::kFloat);
  }
}

void compare(const WeightMap& weights, std::vector<CheckProblem>& problems) {
  for (const auto& [name, shape] : weights.listed()) {
    if (!weights.has(name)) {
      problems.push_back({"missing", name, "the model needs it, " + shape_text(shape)});
    } else if (weights.stored(name).shape != shape) {
      problems.push_back(
          {"misshapen", name, shape_text(weights.stored(name).shape) + " instead of " + shape_text(shape)});
    }
  }
  for (const std::string& name : weights.surplus()) problems.push_back({"surplus", name, "not part of this model"});
}

void check_scale(const WeightMap& weights, const std::string& name, std::vector<CheckProblem>& problems) {
  const std::string scale = WeightMap::scale_name(name);
  if (!weights.has(scale)) problems.push_back({"missing", scale, "the scale of an fp8 tensor"});
}

void read_tensor(const WeightMap& weights, const std::string& name, std::vector<CheckProblem>& problems) {
  const StoredTensor& stored = weights.stored(name);
  const bool wanted = weights.listed().count(name) > 0;
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

std::vector<CheckedComponent> check_checkpoint(const std::string& folder,
                                               const std::function<void(std::uint64_t bytes)>& progress,
                                               const base::CancelToken& cancel) {
  std::vector<CheckedComponent> components;
  std::uint64_t bytes = 0;
  for (const std::string& component : card::components_of(folder)) {
    CheckedComponent& checked = components.emplace_back();
    checked.name = component;
    try {
      WeightMap weights = WeightMap::open(folder + "/" + component);
      list_wanted(folder, component, weights);
      compare(weights, checked.problems);
      for (const std::string& name : weights.names()) {
        cancel.throw_if_cancelled();
        if (progress) progress(bytes);
        read_tensor(weights, name, checked.problems);
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

}  // namespace nightreel::model
