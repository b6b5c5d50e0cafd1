#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>

#include "model/lora_names.h"
#include "nightreel/base/error.h"
#include "nightreel/base/json.h"
#include "nightreel/model/lora.h"
#include "nightreel/model/transformer.h"
#include "nightreel/weights/tensor_bytes.h"

namespace nightreel::model {

namespace {

using base::Error;
using base::ErrorKind;

constexpr std::size_t kKeysNamed = 8;  // keys that a message lists

std::string listed(const std::vector<std::string>& keys) {
  std::string list;
  for (std::size_t i = 0; i < std::min(keys.size(), kKeysNamed); ++i)
    list += (i == 0 ? "" : ", ") + base::printable(keys[i]);
  if (keys.size() > kKeysNamed) list += ", … (" + std::to_string(keys.size()) + " in all)";
  return list;
}

[[noreturn]] void refuse_loras(const std::string& path, const std::string& why) {
  throw Error(ErrorKind::job, "loras: " + path + ": " + why);
}

std::string described(const LoraChange& change) {
  if (change.difference.defined()) return change.keys[0] + " " + weights::shape_text(change.difference.sizes());
  return change.keys[0] + " " + weights::shape_text(change.down.sizes()) + " and " + change.keys[1] + " " +
         weights::shape_text(change.up.sizes());
}

/// [first dimension, all others], as far as these can be told: -1 for others that overflow.
std::array<std::int64_t, 2> matrix_shape(at::IntArrayRef shape) {
  std::int64_t rest = 1;
  for (const std::int64_t size : shape.slice(1)) {
    if (__builtin_mul_overflow(rest, size, &rest)) return {shape[0], -1};
  }
  return {shape[0], rest};
}

bool fits(const LoraChange& change, at::IntArrayRef wanted) {
  if (change.difference.defined()) return change.difference.sizes() == wanted;
  if (wanted.size() < 2) return false;
  const auto [out, in] = matrix_shape(wanted);
  // The ranks of both halves were compared when the file was read.
  return change.up.size(0) == out && matrix_shape(change.up.sizes())[1] == change.down.size(0) &&
         matrix_shape(change.down.sizes())[1] == in;
}

/// What the change adds at scale 1, as float32 of the shape of the module's own tensor.
at::Tensor added(const LoraChange& change, at::IntArrayRef shape, at::Device device) {
  if (change.difference.defined()) return change.difference.to(device, at::kFloat).reshape(shape);
  const at::Tensor up = change.up.to(device, at::kFloat).flatten(1);
  const at::Tensor down = change.down.to(device, at::kFloat).flatten(1);
  return at::mm(up, down).reshape(shape);
}

}  // namespace

LoraMerger::LoraMerger(Transformer& transformer, weights::WeightMap weights)
    : transformer_(transformer), weights_(std::move(weights)) {
  const weights::OriginalNames originals("transformer");
  const std::vector<Parameter> parameters = transformer_.parameters();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (parameters[i].tensor == nullptr) continue;  // nobody computes with it
    for (std::size_t part = 0; part < parameters[i].parts.size(); ++part) {
      for (const auto& [module, leaf] : lora_names(parameters[i].parts[part].name, originals)) {
        places_.emplace(module + "/" + leaf, Place{i, part});
      }
    }
  }
}

const LoraMerger::Place* LoraMerger::find(const LoraChange& change) const {
  const auto found = places_.find(change.module + "/" + change.leaf);
  return found == places_.end() ? nullptr : &found->second;
}

void LoraMerger::plan_file(const LoraUse& use, const std::vector<Parameter>& parameters, Plan& plan,
                           std::vector<std::string>& ignored) const {
  const std::string& path = use.file->path();
  std::vector<std::string> unknown;
  std::vector<std::string> misfits;
  bool any = false;
  if (!use.file->speaks_of(use.expert)) return;
  for (const LoraChange& change : use.file->changes()) {
    if (change.expert.value_or(use.expert) != use.expert) continue;
    const Place* place = find(change);
    if (place == nullptr) {
      unknown.insert(unknown.end(), change.keys.begin(), change.keys.end());
      continue;
    }
    any = true;
    const Parameter& parameter = parameters[place->parameter];
    const weights::ListedTensor& part = parameter.parts[place->part];
    if (!fits(change, part.shape)) {
      misfits.push_back(described(change) + " for " + part.name + " " + weights::shape_text(part.shape));
      continue;
    }
    auto& addends = plan[place->parameter];
    addends.resize(parameter.parts.size());
    addends[place->part].push_back({&change, use.scale * change.factor, &path});
  }
  if (!misfits.empty()) refuse_loras(path, "is made for another model: " + listed(misfits));
  if (!any) refuse_loras(path, "matches nothing in this model; its keys: " + listed(use.file->keys()));
  if (!unknown.empty()) ignored.push_back(path + ": " + listed(unknown));
}

LoraMerger::Plan LoraMerger::plan(const std::vector<LoraUse>& uses, const std::vector<Parameter>& parameters,
                                  std::vector<std::string>& ignored) const {
  Plan plan;
  for (const LoraUse& use : uses) plan_file(use, parameters, plan, ignored);
  return plan;
}

std::vector<std::string> LoraMerger::check(const std::vector<LoraUse>& uses) {
  std::vector<std::string> ignored;
  plan(uses, transformer_.parameters(), ignored);
  return ignored;
}

void LoraMerger::merge(const std::vector<LoraUse>& uses) {
  std::string wanted;
  for (const LoraUse& use : uses) wanted += use.file->digest() + " " + base::Json(use.scale).dump() + "\n";
  if (merged_ == wanted) return;

  const c10::InferenceMode inference;
  const std::vector<Parameter> parameters = transformer_.parameters();
  std::vector<std::string> ignored;
  Plan steps = plan(uses, parameters, ignored);
  std::set<std::size_t> changed;
  for (const auto& [index, addends] : steps) changed.insert(index);
  for (const std::size_t index : altered_) steps[index];  // those that go back to what they were

  merged_.reset();
  altered_.insert(changed.begin(), changed.end());
  for (const auto& [index, addends] : steps) rebuild(parameters[index], addends);
  altered_ = std::move(changed);
  merged_ = std::move(wanted);
}

void LoraMerger::reshard(const ShardSeat& seat) {
  const c10::InferenceMode inference;
  merged_.reset();
  transformer_.shard(seat);
  load_parameters(transformer_.parameters(), weights_, transformer_.device());
  altered_.clear();
  merged_ = "";
}

void LoraMerger::rebuild(const Parameter& parameter, const std::vector<std::vector<Addend>>& addends) {
  const at::Device device = transformer_.device();
  std::vector<Held> parts;
  for (std::size_t i = 0; i < parameter.parts.size(); ++i) {
    if (i >= addends.size() || addends[i].empty()) {
      parts.push_back(held_part(parameter, i, weights_, device));
      continue;
    }
    // Copied where it is float32 already: it may lie in the checkpoint's file.
    at::Tensor part = stored_part(parameter, i, weights_).to(device, at::kFloat, /*non_blocking=*/false, /*copy=*/true);
    for (const Addend& addend : addends[i]) {
      part.add_(added(*addend.change, part.sizes(), device), addend.scale);
      if (std::isfinite(part.sum().item<float>())) continue;
      refuse_loras(*addend.path, "makes " + parameter.parts[i].name + " not finite: " + listed(addend.change->keys));
    }
    parts.push_back(held(parameter, part));
  }
  assign(parameter, parts);
}

}  // namespace nightreel::model
