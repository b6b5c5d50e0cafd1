#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "model/lora_keys.h"
#include "model/lora_metadata.h"
#include "nightreel/base/error.h"
#include "nightreel/base/hash.h"
#include "nightreel/model/lora.h"

namespace nightreel::model {

namespace {

using base::Error;
using base::ErrorKind;

using Role = LoraRole;

constexpr double kMaxFactor = 1e6;  // beyond any use, and far within float32
constexpr std::size_t kMaxDimensions = 8;

/// XXH3-128 of all that decides what a file does: each tensor's name, dtype, shape and bytes, and the scaling.
std::string digest_of(const weights::TensorFile& file, const std::optional<std::string>& peft_config) {
  base::Xxh128 hash;
  const auto add = [&](const std::string& text) { hash.update(text.c_str(), text.size() + 1); };
  for (const auto& [name, stored] : file.tensors()) {
    add(name);
    add(std::string(tensorfile::name(stored.type)));
    for (const std::int64_t size : stored.shape) add(std::to_string(size));
    add("");
    hash.update(file.bytes(stored).data(), stored.bytes);
  }
  for (const auto& [key, value] : file.metadata()) {
    add(key);
    add(value);
  }
  if (peft_config) add(*peft_config);
  return hash.hex_digest();
}

/// What a file says about one module.
struct Module {
  std::optional<Expert> expert;
  std::string name;
  std::map<Role, std::string> keys;  // role -> the file's key
};

/// Puts the file's tensors together to changes.
class Reader {
 public:
  Reader(const weights::TensorFile& file, const std::optional<std::string>& peft_config)
      : file_(file),
        metadata_(read_lora_metadata(file, "transformer.", peft_config)),
        low_metadata_(read_lora_metadata(file, "transformer_2.", peft_config)) {}

  std::vector<LoraChange> read() {
    for (const auto& [name, stored] : file_.tensors()) {
      const auto key = take_lora_key_apart(name);
      two_experts_ = two_experts_ || (key && key->expert == Expert::low);
    }
    for (const auto& [name, stored] : file_.tensors()) sort_in(name);
    if (modules_.empty()) fail("holds no tensors");
    std::vector<LoraChange> changes;
    for (const auto& [place, module] : modules_) read_module(module, changes);
    return changes;
  }

 private:
  [[noreturn]] void fail(const std::string& why) const { throw Error(ErrorKind::job, file_.path() + ": " + why); }
  [[noreturn]] void fail(const std::string& key, const std::string& why) const {
    fail("tensor " + base::printable(key) + ": " + why);
  }

  /// An empty one has no use, and its other sizes, or very many of them, may be beyond LibTorch.
  at::Tensor tensor(const std::string& key) const {
    const weights::StoredTensor& stored = file_.tensors().at(key);
    if (stored.bytes == 0) fail(key, "is empty");
    if (stored.shape.size() > kMaxDimensions) fail(key, "has " + std::to_string(stored.shape.size()) + " dimensions");
    return file_.tensor(key);
  }

  void sort_in(const std::string& name) {
    const std::optional<LoraKey> key = take_lora_key_apart(name);
    if (!key || key->module.empty()) {
      const std::string kind = foreign_adapter(name);
      fail(name, (kind.empty() ? std::string("is") : "is a part of " + kind + ",") +
                     " of no kind of LoRA that this program merges (lora_A and lora_B, lora_down and lora_up, alpha, "
                     "diff, diff_b, diff_m)");
    }
    // "transformer." alone says nothing: files for either expert have it.
    const std::optional<Expert> expert = two_experts_ ? key->expert : std::nullopt;
    Module& module = modules_[{expert, key->module}];
    module.expert = expert;
    module.name = key->module;
    const auto [at, added] = module.keys.emplace(key->role, name);
    if (!added) fail(name, "says the same as " + base::printable(at->second));
  }

  void read_module(const Module& module, std::vector<LoraChange>& changes) const {
    const std::string& name = module.name;
    const auto key = [&](Role role) {
      const auto found = module.keys.find(role);
      return found == module.keys.end() ? nullptr : &found->second;
    };
    const std::string* down = key(Role::down);
    const std::string* up = key(Role::up);
    double factor = 1;
    if ((down == nullptr) != (up == nullptr)) fail(*(down ? down : up), "its other half is missing");
    if (down == nullptr && key(Role::alpha) != nullptr) fail(*key(Role::alpha), "there are no tensors that it scales");
    if (down != nullptr) {
      LoraChange change{name, "weight", {*down, *up}, tensor(*down), tensor(*up), {}, 1, module.expert};
      factor = change.factor = factor_of(module, change, key(Role::alpha));
      changes.push_back(std::move(change));
    }
    const auto add = [&](Role role, const char* leaf, double scale) {
      if (key(role) == nullptr) return;
      changes.push_back({name, leaf, {*key(role)}, {}, {}, tensor(*key(role)), scale, module.expert});
    };
    add(Role::bias, "bias", factor);  // peft scales it as it does the product
    add(Role::difference, "weight", 1);
    add(Role::bias_difference, "bias", 1);
    add(Role::table_difference, "table", 1);
  }

  /// alpha / rank; alpha is the tensor's, the header's, or else the rank.
  double factor_of(const Module& module, const LoraChange& change, const std::string* alpha_key) const {
    if (change.down.dim() < 2 || change.up.dim() < 2) fail(change.keys[0], "is no matrix");
    const std::int64_t rank = change.down.size(0);
    if (change.up.size(1) != rank) {
      fail(change.keys[0], "has rank " + std::to_string(rank) + ", " + base::printable(change.keys[1]) + " has rank " +
                               std::to_string(change.up.size(1)));
    }
    const LoraMetadata& metadata = module.expert == Expert::low ? low_metadata_ : metadata_;
    const double factor =
        alpha_key == nullptr ? metadata.factor(module.name, rank) : scalar(*alpha_key) / static_cast<double>(rank);
    if (std::abs(factor) <= kMaxFactor) return factor;
    fail(alpha_key == nullptr ? change.keys[0] : *alpha_key, "alpha / rank is not between -1e6 and 1e6");
  }

  double scalar(const std::string& key) const {
    const weights::StoredTensor& stored = file_.tensors().at(key);
    for (const std::int64_t size : stored.shape) {
      if (size != 1) fail(key, "is no single number");
    }
    if (stored.type == weights::StoredType::i64) {  // torch.tensor(16), as trainers write it
      std::int64_t whole = 0;
      std::memcpy(&whole, file_.bytes(stored).data(), sizeof whole);
      return static_cast<double>(whole);
    }
    return tensor(key).to(at::kFloat).item<float>();
  }

  const weights::TensorFile& file_;
  LoraMetadata metadata_;
  LoraMetadata low_metadata_;
  bool two_experts_ = false;
  std::map<std::pair<std::optional<Expert>, std::string>, Module> modules_;
};

}  // namespace

LoraFile::LoraFile(weights::TensorFile file, const std::optional<std::string>& peft_config)
    : file_(std::move(file)), digest_(digest_of(file_, peft_config)) {
  changes_ = Reader(file_, peft_config).read();
}

std::shared_ptr<const LoraFile> LoraFile::open(const std::string& path, Links links) {
  try {
    weights::TensorFile file = links == Links::followed ? weights::TensorFile::open_safetensors(path)
                                                        : weights::TensorFile::open_resolved_safetensors(path);
    return std::shared_ptr<const LoraFile>(new LoraFile(std::move(file), peft_config_beside(path)));
  } catch (const Error& e) {
    throw Error(ErrorKind::job, std::string("loras: ") + e.what());  // the job's fault, not the model's
  }
}

bool LoraFile::names_experts() const {
  return std::any_of(changes_.begin(), changes_.end(),
                     [](const LoraChange& change) { return change.expert.has_value(); });
}

bool LoraFile::speaks_of(Expert expert) const {
  return std::any_of(changes_.begin(), changes_.end(),
                     [&](const LoraChange& change) { return change.expert.value_or(expert) == expert; });
}

std::vector<std::string> LoraFile::keys() const {
  std::vector<std::string> keys;
  for (const auto& [name, stored] : file_.tensors()) keys.push_back(name);
  return keys;
}

}  // namespace nightreel::model
