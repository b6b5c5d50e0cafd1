// LoRA files, and a transformer with any set of them merged into its weights.
//
// A LoraFile maps its file and is read-only after open(): any thread. A LoraMerger changes a transformer that somebody
// else owns and that must outlive it at its place: the thread that computes with it. Files are foreign bytes: one that
// cannot be read, does not fit or matches nothing is a base::Error{job} naming the file and the keys.
//
// Key styles: Diffusers and PEFT (transformer.blocks.0.attn1.to_q.lora_A.weight, .lora_A.default.weight, alpha in the
// header's lora_adapter_metadata or, as peft's save_pretrained writes it, in adapter_config.json beside the file), with
// peft's base_model.model. in front, kohya (lora_unet_blocks_0_self_attn_q.lora_down.weight, .alpha), ComfyUI and the
// original code (diffusion_model.blocks.0.self_attn.q.lora_A.weight, or without the prefix), and whole differences of
// weights, biases and modulation tables (.diff, .diff_b, .diff_m). What they mean follows diffusers 0.42.1
// (loaders/lora_conversion_utils.py) and peft; differences of norms, which these drop, are added too. A file with keys
// of transformer_2. (or low_noise_model.) names two experts: transformer. (high_noise_model.) is then the high-noise
// one.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "nightreel/model/fully_sharded.h"
#include "nightreel/model/parameter.h"
#include "nightreel/weights/tensor_file.h"
#include "nightreel/weights/weights.h"

namespace nightreel::model {

class Transformer;

/// Which transformer of a model: the high-noise one, which is the only one of most models, or the low-noise one.
enum class Expert { high, low };

/// What one file adds to one tensor: up @ down * factor, or the difference itself. `module` and `leaf` are the file's
/// own name for the tensor, without its prefix: blocks.0.self_attn.q and weight.
struct LoraChange {
  std::string module;
  std::string leaf;               // weight, bias, or table: the modulation of a block or of the head
  std::vector<std::string> keys;  // of the file
  at::Tensor down;                // [rank, in…]
  at::Tensor up;                  // [out, rank…]
  at::Tensor difference;          // of the tensor's own shape
  double factor = 1;              // alpha / rank
  std::optional<Expert> expert;   // of a file that names two; nothing: of whichever it is used for
};

class LoraFile {
 public:
  enum class Links { followed, refused };  // refused: the path was resolved; a link in its way is new
  /// Reads the whole file for its digest, which also brings it into memory before it is needed.
  static std::shared_ptr<const LoraFile> open(const std::string& path, Links links = Links::followed);

  const std::string& path() const { return file_.path(); }
  /// XXH3-128 of its tensors and their scaling, 32 hex digits: equal for files that do the same.
  const std::string& digest() const { return digest_; }
  const std::vector<LoraChange>& changes() const { return changes_; }
  /// Whether it holds something for each of two experts, or for one of two.
  bool names_experts() const;
  /// Whether it holds anything for this expert.
  bool speaks_of(Expert expert) const;
  /// All tensors' names, for messages.
  std::vector<std::string> keys() const;

 private:
  LoraFile(weights::TensorFile file, const std::optional<std::string>& peft_config);

  weights::TensorFile file_;
  std::string digest_;
  std::vector<LoraChange> changes_;
};

/// A file in use.
struct LoraUse {
  std::shared_ptr<const LoraFile> file;
  double scale = 1;
  Expert expert = Expert::high;  // what a file of two experts says of the other one is left out
};

class LoraMerger {
 public:
  /// `weights`: what `transformer` was loaded from. Its tensors are taken again whenever a weight returns to what it
  /// was, which costs no memory and gives the same bits.
  LoraMerger(Transformer& transformer, weights::WeightMap weights);

  /// Whether merge() could: names and shapes. Returns the keys of each file that this transformer has no place for,
  /// "PATH: KEY, KEY, … (N in all)".
  std::vector<std::string> check(const std::vector<LoraUse>& uses);

  /// Makes the transformer's weights those of the checkpoint plus `uses`, added in float32 in this order and then
  /// rounded, to fp8 where they are held in it: with the error of fp8 (a checkpoint in fp8 loses what is under half a
  /// step of it). Nothing is touched where they are that already (the same files by digest, scales, order), or where
  /// check() throws. A failure later leaves weights that the next call puts right.
  void merge(const std::vector<LoraUse>& uses);

  /// Has the transformer's blocks sharded so (Transformer::shard) and takes all weights from the checkpoint again,
  /// without any LoRA.
  void reshard(const ShardSeat& seat);

 private:
  /// A tensor of the checkpoint within the transformer's parameters.
  struct Place {
    std::size_t parameter;
    std::size_t part;
  };
  struct Addend {
    const LoraChange* change;
    double scale;
    const std::string* path;
  };
  using Plan = std::map<std::size_t, std::vector<std::vector<Addend>>>;  // parameter -> part -> what is added

  const Place* find(const LoraChange& change) const;
  Plan plan(const std::vector<LoraUse>& uses, const std::vector<Parameter>& parameters,
            std::vector<std::string>& ignored) const;
  void plan_file(const LoraUse& use, const std::vector<Parameter>& parameters, Plan& plan,
                 std::vector<std::string>& ignored) const;
  void rebuild(const Parameter& parameter, const std::vector<std::vector<Addend>>& addends);

  Transformer& transformer_;
  weights::WeightMap weights_;
  std::map<std::string, Place> places_;    // "MODULE/LEAF" in every style -> where
  std::optional<std::string> merged_{""};  // the set that the weights hold; none after a failure
  std::set<std::size_t> altered_;          // parameters that may differ from the checkpoint
};

}  // namespace nightreel::model
