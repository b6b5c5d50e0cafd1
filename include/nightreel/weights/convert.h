// Writes a checkpoint anew: in the other layout, in another precision, in shards of another size.
//
// The new folder appears whole or not at all: it is written beside its place under a temporary name and renamed.
// Tensors go through in pieces, so that memory stays under some hundred megabytes however large they are. Plain
// function; one thread (LibTorch's own beside it). Throws Error{model} for a checkpoint that cannot be read or holds
// numbers that are not finite, Error{usage} for a destination that is taken, Error{storage} where it cannot be written.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "nightreel/base/cancel.h"
#include "nightreel/card/checkpoint.h"
#include "nightreel/weights/tensor_list.h"

namespace nightreel::weights {

/// `keep`: each tensor as it is.
enum class Precision { keep, f32, bf16, f16, fp8 };

struct ConvertOptions {
  std::string from;
  std::string to;
  std::optional<card::Layout> layout;  // none: that of `from`
  Precision precision = Precision::keep;
  std::uint64_t shard_bytes = 5'000'000'000;
};

/// What conversion cost a component, over the tensors whose precision changed.
struct ConvertedComponent {
  std::string name;
  std::size_t tensors = 0;
  std::uint64_t bytes_before = 0;
  std::uint64_t bytes_after = 0;
  std::size_t changed = 0;            // tensors whose numbers were rounded
  double max_error = 0;               // |new - old|
  double mean_error = 0;              // of |new - old|
  double relative_error = 0;          // root of sum (new - old)^2 / sum old^2
  std::vector<std::string> left_out;  // tensors that the new layout has no place for and no module uses
};

/// `lists`: of the components of options.from. `progress` is called with the bytes read so far; `cancel` is looked at
/// there.
std::vector<ConvertedComponent> convert_checkpoint(const ConvertOptions& options, const ListOf& lists,
                                                   const std::function<void(std::uint64_t bytes)>& progress = {},
                                                   const base::CancelToken& cancel = {});

}  // namespace nightreel::weights
