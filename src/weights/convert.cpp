#include "nightreel/weights/convert.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "nightreel/base/error.h"
#include "nightreel/weights/original_names.h"
#include "nightreel/weights/weights.h"
#include "weights/component_writer.h"
#include "weights/counted_names.h"
#include "weights/rounding.h"
#include "weights/scalar_type.h"
#include "weights/staging_folder.h"

namespace nightreel::weights {

namespace {

namespace fs = std::filesystem;
using base::Error;
using base::ErrorKind;
using card::Layout;

constexpr std::uint64_t kCopyPiece = 16U << 20U;
constexpr std::uintmax_t kMaxSmallFile = 64U << 20U;
// Says to Diffusers, which would load the numbers without their scales, that these files are not for it.
const base::Json kQuantisation{{"quant_method", "nightreel_e4m3"},
                               {"weights", "float8_e4m3fn"},
                               {"scale", "one float32 for each output channel, NAME_scale"}};

/// A tensor of the checkpoint, and where its numbers go.
struct Step {
  std::string name;      // in Diffusers
  StoredType type;       // to be written
  std::string to;        // the name to be written
  std::string scale_to;  // of its scales, where it becomes fp8
  std::uint64_t at = 0;  // its first byte there: several may lie one below the other
};

struct Plan {
  std::string component;
  std::vector<Step> steps;
  std::vector<NewTensor> tensors;
  std::vector<std::string> left_out;

  std::uint64_t bytes() const {
    std::uint64_t bytes = 0;
    for (const NewTensor& tensor : tensors) bytes += tensor.bytes();
    return bytes;
  }
  bool has(StoredType type) const {
    return std::any_of(tensors.begin(), tensors.end(), [&](const NewTensor& tensor) { return tensor.type == type; });
  }
};

struct Layouts {
  Layout from, to;
};

/// Makes the plan of one component.
class Planner {
 public:
  Planner(const ConvertOptions& options, const Layouts& layouts, const std::string& component, TensorList list,
          const WeightMap& weights)
      : options_(options),
        list_(std::move(list)),
        weights_(weights),
        same_layout_(layouts.from == layouts.to),
        original_(layouts.to == Layout::original),
        names_(options.from + "/" + component) {
    plan_.component = component;
  }

  Plan make() {
    for (const std::string& name : weights_.names()) {
      if (weights_.is_scale(name)) continue;  // goes with its matrix
      if (belongs(name)) {
        add(name);
      } else {
        plan_.left_out.push_back(name);
      }
    }
    return std::move(plan_);
  }

 private:
  /// A Diffusers folder keeps even what nobody uses; a tied copy would be a second set of numbers.
  bool belongs(const std::string& name) const {
    return counts(list_, name, weights_) || (same_layout_ && list_.find(name)->use == Use::stray);
  }

  void add(const std::string& name) {
    const StoredTensor& stored = weights_.stored(name);
    const StoredType type = target_type(list_, name, stored, options_.precision);
    Step step{name, type, "", "", 0};
    step.to = put(name, type, stored.shape, step.at);
    if (type == StoredType::f8_e4m3) {
      const std::string scale = WeightMap::scale_name(name);
      std::uint64_t at = 0;
      step.scale_to = put(scale, StoredType::f32, {stored.shape.at(0), 1}, at);
    }
    plan_.steps.push_back(std::move(step));
  }

  /// The tensor's name as it is written; `at`: its first byte there.
  std::string put(const std::string& name, StoredType type, const std::vector<std::int64_t>& shape, std::uint64_t& at) {
    const OriginalNames::Place place = original_ ? names_.original(name) : OriginalNames::Place{name};
    NewTensor made{place.name, type,
                   original_ ? OriginalNames::original_shape(plan_.component, place.name, shape) : shape};
    at = place.part * made.bytes();
    if (place.part > 0) return place.name;  // the first part made room for all
    if (place.parts > 1) made.shape.at(0) *= static_cast<std::int64_t>(place.parts);
    plan_.tensors.push_back(made);
    return place.name;
  }

  const ConvertOptions& options_;
  TensorList list_;
  const WeightMap& weights_;
  bool same_layout_;
  bool original_;
  OriginalNames names_;
  Plan plan_;
};

/// Carries out a plan.
class Converter {
 public:
  Converter(const WeightMap& weights, ComponentWriter& writer, const std::function<void(std::uint64_t)>& on_bytes)
      : weights_(weights), writer_(writer), on_bytes_(on_bytes) {}

  void run(const Step& step) {
    const auto values = [&](std::uint64_t at, const at::Tensor& piece) { write(step.to, step.at + at, piece); };
    if (weights_.stored(step.name).type == step.type) {
      copy(step.name, step.to, step.at);
      if (!step.scale_to.empty()) copy(WeightMap::scale_name(step.name), step.scale_to, 0);
      return;
    }
    changed_ += 1;
    if (step.type == StoredType::f8_e4m3) {
      const auto scales = [&](std::uint64_t at, const at::Tensor& piece) { write(step.scale_to, at, piece); };
      quantise_tensor(weights_, step.name, values, scales, rounding_);
    } else {
      round_tensor(weights_, step.name, step.type, values, rounding_);
    }
    weights_.release(step.name);
  }

  void report(ConvertedComponent& component) const {
    component.changed = changed_;
    component.max_error = rounding_.max;
    component.mean_error = rounding_.count > 0 ? rounding_.sum / rounding_.count : 0;
    component.relative_error = rounding_.all_squares > 0 ? std::sqrt(rounding_.squares / rounding_.all_squares) : 0;
  }

 private:
  void write(const std::string& name, std::uint64_t at, const at::Tensor& piece) {
    const at::Tensor whole = piece.contiguous();
    writer_.write(name, at, whole.const_data_ptr(), whole.nbytes());
    on_bytes_(whole.nbytes());
  }
  void copy(const std::string& name, const std::string& to, std::uint64_t at) {
    const std::string_view bytes = weights_.bytes(name);
    for (std::uint64_t done = 0; done < bytes.size(); done += kCopyPiece) {
      const std::string_view piece = bytes.substr(done, kCopyPiece);
      writer_.write(to, at + done, piece.data(), piece.size());
      on_bytes_(piece.size());
    }
    weights_.release(name);
  }

  const WeightMap& weights_;
  ComponentWriter& writer_;
  const std::function<void(std::uint64_t)>& on_bytes_;
  Rounding rounding_;
  std::size_t changed_ = 0;
};

/// A word for the precision of most of a component's bytes, as Wan's file names have it.
std::string precision_word(const Plan& plan) {
  const auto largest = std::max_element(plan.tensors.begin(), plan.tensors.end(),
                                        [](const auto& a, const auto& b) { return a.bytes() < b.bytes(); });
  if (plan.has(StoredType::f8_e4m3)) return "fp8";
  const StoredType type = largest == plan.tensors.end() ? StoredType::f32 : largest->type;
  return type == StoredType::bf16 ? "bf16" : type == StoredType::f16 ? "fp16" : "fp32";
}

ComponentPlace place_of(const ConvertOptions& options, const Plan& plan, Layout layout, const std::string& root) {
  const bool expert = plan.component.rfind("transformer", 0) == 0;
  if (layout == Layout::diffusers) {
    const bool diffusers = expert || plan.component == "vae";
    return {root + "/" + plan.component, diffusers ? "diffusion_pytorch_model" : "model", true};
  }
  const std::string place = card::original_place(options.from, plan.component, precision_word(plan));
  if (expert) return {place == "." ? root : root + "/" + place, "diffusion_pytorch_model", true};
  return {root, fs::path(place).stem().string(), false};
}

void write_json(const std::string& path, const base::Json& json) {
  base::make_folders(base::parent_folder(path));
  base::replace_file(path, json.dump(2) + "\n");
}

void copy_file(const fs::path& from, const std::string& to) {
  base::make_folders(base::parent_folder(to));
  base::replace_file(to, base::read_file(from.string(), kMaxSmallFile));
}

bool is_small_file(const fs::directory_entry& entry) {
  const std::string name = entry.path().filename().string();
  const std::string extension = entry.path().extension().string();
  if (name.size() > 11 && name.find(".index.json") == name.size() - 11) return false;
  const bool known = extension == ".json" || extension == ".txt" || extension == ".model" || extension == ".md" ||
                     name.rfind("LICENSE", 0) == 0 || name.rfind("NOTICE", 0) == 0;
  std::error_code error;
  return known && entry.is_regular_file(error) && entry.file_size(error) <= kMaxSmallFile && !error;
}

/// Everything but weights: configurations, tokenizer, licences. `deep`: of subfolders too, but for hidden ones.
void copy_small_files(const std::string& from, const std::string& to, bool deep) {
  for (const auto& entry : fs::directory_iterator(from)) {
    const std::string name = entry.path().filename().string();
    std::error_code error;
    if (name.empty() || name[0] == '.') continue;
    if (is_small_file(entry)) copy_file(entry.path(), to + "/" + name);
    if (deep && entry.is_directory(error) && !entry.is_symlink(error)) {
      copy_small_files(entry.path().string(), to + "/" + name, deep);
    }
  }
}

void write_configs(const ConvertOptions& options, Layout from, Layout to, const std::string& root) {
  if (from == to) return copy_small_files(options.from, root, /*deep=*/true);
  // Files of the other layout's that would count here, or mean nothing, stay behind.
  for (const auto& entry : fs::directory_iterator(options.from)) {
    const std::string name = entry.path().filename().string();
    const bool known = name == "nightreel.json" || entry.path().extension() == ".md" || name.rfind("LICENSE", 0) == 0;
    if (known && is_small_file(entry)) copy_file(entry.path(), root + "/" + name);
  }
  for (const auto& [name, json] : card::config_files(options.from, to)) write_json(root + "/" + name, json);
  copy_small_files(card::tokenizer_folder(options.from),
                   root + (to == Layout::original ? "/google/umt5-xxl" : "/tokenizer"), /*deep=*/false);
}

/// What a component's config.json says about the precision of its numbers. A file that says it already stays as it is.
void mark_precision(const std::string& path, const Plan& plan, Precision precision) {
  if (!fs::exists(path)) return;
  const base::Json before = base::read_json(path);
  base::Json config = before;
  config.erase("quantization_config");
  if (plan.has(StoredType::f8_e4m3)) config["quantization_config"] = kQuantisation;
  const char* word = precision == Precision::f32 ? "float32" : precision == Precision::f16 ? "float16" : "bfloat16";
  for (const char* key : {"dtype", "torch_dtype"}) {
    if (precision != Precision::keep && plan.component != "vae" && config.contains(key)) config[key] = word;
  }
  if (config != before) write_json(path, config);
}

std::string config_path(const ComponentPlace& place, const std::string& component, Layout layout,
                        const std::string& root) {
  const bool expert = component.rfind("transformer", 0) == 0;
  return layout == Layout::original && !expert ? root + "/" + component + "/config.json"
                                               : place.folder + "/config.json";
}

void require_room(const std::string& folder, std::uint64_t bytes) {
  const std::uint64_t free = base::free_bytes(folder);
  if (free >= bytes) return;
  throw Error(ErrorKind::storage, base::printable(folder) + ": " + std::to_string(bytes) +
                                      " bytes are to be written, " + std::to_string(free) + " are free");
}

}  // namespace

std::vector<ConvertedComponent> convert_checkpoint(const ConvertOptions& options, const ListOf& lists,
                                                   const std::function<void(std::uint64_t bytes)>& progress,
                                                   const base::CancelToken& cancel) {
  const c10::InferenceMode inference;
  const Layout from = card::layout_of(options.from);
  const Layout to = options.layout.value_or(from);
  const std::vector<std::string> names = card::components_of(options.from);
  std::vector<WeightMap> weights;
  std::vector<Plan> plans;
  std::uint64_t needed = 0;
  for (const std::string& name : names) {
    weights.push_back(WeightMap::open(options.from + "/" + name));
    plans.push_back(Planner(options, {from, to}, name, lists(name), weights.back()).make());
    needed += plans.back().bytes();
  }
  StagingFolder staging(options.to);
  require_room(staging.path(), needed);
  write_configs(options, from, to, staging.path());
  std::uint64_t written = 0;
  const std::function<void(std::uint64_t)> on_bytes = [&](std::uint64_t bytes) {
    cancel.throw_if_cancelled();
    written += bytes;
    if (progress) progress(written);
  };
  std::vector<ConvertedComponent> report;
  for (std::size_t i = 0; i < plans.size(); ++i) {
    const Plan& plan = plans[i];
    const ComponentPlace place = place_of(options, plan, to, staging.path());
    ComponentWriter writer(place, plan.tensors, options.shard_bytes);
    Converter converter(weights[i], writer, on_bytes);
    ConvertedComponent& component = report.emplace_back();
    component.name = plan.component;
    component.tensors = plan.tensors.size();
    component.bytes_after = plan.bytes();
    component.left_out = plan.left_out;
    for (const std::string& name : weights[i].names()) component.bytes_before += weights[i].stored(name).bytes;
    for (const Step& step : plan.steps) converter.run(step);
    writer.finish();
    converter.report(component);
    mark_precision(config_path(place, plan.component, to, staging.path()), plan, options.precision);
  }
  staging.publish();
  return report;
}

}  // namespace nightreel::weights
