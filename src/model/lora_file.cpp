#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <string_view>

#include "model/lora_metadata.h"
#include "nightreel/base/error.h"
#include "nightreel/base/hash.h"
#include "nightreel/model/lora.h"

namespace nightreel::model {

namespace {

using base::Error;
using base::ErrorKind;

enum class Role { down, up, bias, alpha, difference, bias_difference, table_difference };

/// A key taken apart: whose, and what.
struct Key {
  std::string module;
  Role role;
};

/// `marker` stands between the module and the rest, which is END or ADAPTER.END.
struct Marker {
  std::string_view text;
  std::string_view end;
  Role role;
};
constexpr std::array<Marker, 8> kMarkers{{{".lora_A.", "weight", Role::down},
                                          {".lora_B.", "weight", Role::up},
                                          {".lora_B.", "bias", Role::bias},
                                          {".lora_down.", "weight", Role::down},
                                          {".lora_up.", "weight", Role::up},
                                          {".lora_up.", "bias", Role::bias},
                                          {".lora.down.", "weight", Role::down},
                                          {".lora.up.", "weight", Role::up}}};
constexpr std::array<std::pair<std::string_view, Role>, 4> kEnds{{{".alpha", Role::alpha},
                                                                  {".diff", Role::difference},
                                                                  {".diff_b", Role::bias_difference},
                                                                  {".diff_m", Role::table_difference}}};
constexpr std::array<std::string_view, 4> kPrefixes{"transformer.", "model.diffusion_model.", "diffusion_model.",
                                                    "lora_unet_"};

constexpr double kMaxFactor = 1e6;  // beyond any use, and far within float32
constexpr std::size_t kMaxDimensions = 8;

std::string without_prefix(std::string_view module) {
  for (const std::string_view prefix : kPrefixes) {
    if (module.substr(0, prefix.size()) == prefix) return std::string(module.substr(prefix.size()));
  }
  return std::string(module);
}

std::optional<Key> take_apart(std::string_view name) {
  for (const Marker& marker : kMarkers) {
    const std::size_t at = name.rfind(marker.text);
    if (at == std::string_view::npos) continue;
    std::string_view rest = name.substr(at + marker.text.size());
    const std::size_t adapter = rest.find('.');  // peft's name of the adapter: .lora_A.default.weight
    if (adapter != std::string_view::npos && adapter > 0) rest.remove_prefix(adapter + 1);
    if (rest == marker.end) return Key{without_prefix(name.substr(0, at)), marker.role};
  }
  for (const auto& [end, role] : kEnds) {
    if (name.ends_with(end)) return Key{without_prefix(name.substr(0, name.size() - end.size())), role};
  }
  return std::nullopt;
}

/// XXH3-128 of all that decides what a file does: each tensor's name, dtype, shape and bytes, and the scaling.
std::string digest_of(const SafetensorsFile& file) {
  base::Xxh128 hash;
  const auto add = [&](const std::string& text) { hash.update(text.c_str(), text.size() + 1); };
  for (const auto& [name, stored] : file.tensors()) {
    add(name);
    add(stored.dtype);
    for (const std::int64_t size : stored.shape) add(std::to_string(size));
    add("");
    hash.update(file.bytes(stored).data(), stored.bytes);
  }
  for (const auto& [key, value] : file.metadata()) {
    add(key);
    add(value);
  }
  return hash.hex_digest();
}

/// What a file says about one module.
struct Module {
  std::map<Role, std::string> keys;  // role -> the file's key
};

/// Puts the file's tensors together to changes.
class Reader {
 public:
  explicit Reader(const SafetensorsFile& file) : file_(file), metadata_(read_lora_metadata(file)) {}

  std::vector<LoraChange> read() {
    for (const auto& [name, stored] : file_.tensors()) sort_in(name);
    if (modules_.empty()) fail("holds no tensors");
    std::vector<LoraChange> changes;
    for (const auto& [name, module] : modules_) read_module(name, module, changes);
    return changes;
  }

 private:
  [[noreturn]] void fail(const std::string& why) const { throw Error(ErrorKind::job, file_.path() + ": " + why); }
  [[noreturn]] void fail(const std::string& key, const std::string& why) const {
    fail("tensor " + base::printable(key) + ": " + why);
  }

  /// An empty one has no use, and its other sizes, or very many of them, may be beyond LibTorch.
  at::Tensor tensor(const std::string& key) const {
    const StoredTensor& stored = file_.tensors().at(key);
    if (stored.bytes == 0) fail(key, "is empty");
    if (stored.shape.size() > kMaxDimensions) fail(key, "has " + std::to_string(stored.shape.size()) + " dimensions");
    return file_.tensor(key);
  }

  void sort_in(const std::string& name) {
    const std::optional<Key> key = take_apart(name);
    if (!key || key->module.empty()) {
      fail(name,
           "is of no kind of LoRA that this program merges (lora_A and lora_B, lora_down and lora_up, alpha, "
           "diff, diff_b, diff_m)");
    }
    const auto [at, added] = modules_[key->module].keys.emplace(key->role, name);
    if (!added) fail(name, "says the same as " + base::printable(at->second));
  }

  void read_module(const std::string& name, const Module& module, std::vector<LoraChange>& changes) const {
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
      LoraChange change{name, "weight", {*down, *up}, tensor(*down), tensor(*up), {}, 1};
      factor = change.factor = factor_of(name, change, key(Role::alpha));
      changes.push_back(std::move(change));
    }
    const auto add = [&](Role role, const char* leaf, double scale) {
      if (key(role) == nullptr) return;
      changes.push_back({name, leaf, {*key(role)}, {}, {}, tensor(*key(role)), scale});
    };
    add(Role::bias, "bias", factor);  // peft scales it as it does the product
    add(Role::difference, "weight", 1);
    add(Role::bias_difference, "bias", 1);
    add(Role::table_difference, "table", 1);
  }

  /// alpha / rank; alpha is the tensor's, the header's, or else the rank.
  double factor_of(const std::string& module, const LoraChange& change, const std::string* alpha_key) const {
    if (change.down.dim() < 2 || change.up.dim() < 2) fail(change.keys[0], "is no matrix");
    const std::int64_t rank = change.down.size(0);
    if (change.up.size(1) != rank) {
      fail(change.keys[0], "has rank " + std::to_string(rank) + ", " + base::printable(change.keys[1]) + " has rank " +
                               std::to_string(change.up.size(1)));
    }
    const double factor =
        alpha_key == nullptr ? metadata_.factor(module, rank) : scalar(*alpha_key) / static_cast<double>(rank);
    if (std::abs(factor) <= kMaxFactor) return factor;
    fail(alpha_key == nullptr ? change.keys[0] : *alpha_key, "alpha / rank is not between -1e6 and 1e6");
  }

  double scalar(const std::string& key) const {
    const StoredTensor& stored = file_.tensors().at(key);
    for (const std::int64_t size : stored.shape) {
      if (size != 1) fail(key, "is no single number");
    }
    if (stored.dtype == "I64") {  // torch.tensor(16), as trainers write it
      std::int64_t whole = 0;
      std::memcpy(&whole, file_.bytes(stored).data(), sizeof whole);
      return static_cast<double>(whole);
    }
    return tensor(key).to(at::kFloat).item<float>();
  }

  const SafetensorsFile& file_;
  LoraMetadata metadata_;
  std::map<std::string, Module> modules_;
};

}  // namespace

LoraFile::LoraFile(SafetensorsFile file, std::string digest) : file_(std::move(file)), digest_(std::move(digest)) {
  changes_ = Reader(file_).read();
}

std::shared_ptr<const LoraFile> LoraFile::open(const std::string& path, Links links) {
  try {
    SafetensorsFile file =
        links == Links::followed ? SafetensorsFile::open(path) : SafetensorsFile::open_resolved(path);
    std::string digest = digest_of(file);
    return std::shared_ptr<const LoraFile>(new LoraFile(std::move(file), std::move(digest)));
  } catch (const Error& e) {
    throw Error(ErrorKind::job, std::string("loras: ") + e.what());  // the job's fault, not the model's
  }
}

std::vector<std::string> LoraFile::keys() const {
  std::vector<std::string> keys;
  for (const auto& [name, stored] : file_.tensors()) keys.push_back(name);
  return keys;
}

}  // namespace nightreel::model
