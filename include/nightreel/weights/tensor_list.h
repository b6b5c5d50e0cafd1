// What the tensors of a checkpoint's component are: names, shapes, and what may become of them. The module that
// computes with them says so, once; who converts, checks, hashes or counts a checkpoint reads this list.
//
// Plain values; any thread. Nothing fails.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace nightreel::weights {

enum class Use {
  held,    // the module has it
  unused,  // in every file, of this shape, and nobody looks at it
  stray    // in some files, of whatever shape, and nobody looks at it: it does not count in a digest
};

struct ListedTensor {
  std::string name;                 // blocks.0.attn1.to_k.weight: Diffusers' name, by which it counts
  std::vector<std::int64_t> shape;  // as stored
  std::string also = {};            // another name, of another version or a tied copy: files have either, or both alike
  Use use = Use::held;
  bool float32 = false;    // computed with in float32 whatever the module's type: it is not rounded
  bool block = false;      // of one of the module's blocks, which ranks may share
  bool fp8 = false;        // a block's matrix: files and modules may have it in fp8
  bool as_stored = false;  // converted to no other type
  bool on_host = false;    // stays on the host, in the type in which it is stored
};

class TensorList {
 public:
  TensorList() = default;
  explicit TensorList(std::vector<ListedTensor> tensors);

  const std::vector<ListedTensor>& tensors() const { return tensors_; }
  /// By either of its names; null where the module knows no such tensor.
  const ListedTensor* find(const std::string& name) const;
  /// Whether conversion leaves all tensors as they are, also those that the module does not know.
  bool as_stored() const;

 private:
  std::vector<ListedTensor> tensors_;
  std::map<std::string, std::size_t> places_;
};

/// The list of a component: "transformer", "vae", …
using ListOf = std::function<TensorList(const std::string& component)>;

}  // namespace nightreel::weights
