// Does a checkpoint hold what its configuration asks for? Every tensor is read.
//
// Plain functions; one thread (LibTorch's own beside it). What is wrong with the tensors is in the answer; an
// Error{model} is thrown only where the folder cannot be understood at all.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "nightreel/base/cancel.h"
#include "nightreel/tensorfile/header.h"
#include "nightreel/weights/tensor_list.h"

namespace nightreel::weights {

struct CheckProblem {
  std::string what;    // missing, surplus, misshapen, not_finite, unreadable
  std::string tensor;  // empty: the component as a whole
  std::string detail;
};

struct CheckedComponent {
  std::string name;
  std::size_t tensors = 0;
  std::uint64_t bytes = 0;
  std::map<std::string, std::size_t> dtypes;  // safetensors' name -> how many tensors
  std::vector<CheckProblem> problems;
};

/// The components of `folder`, in either layout, held against their `lists`. `progress` is called before each tensor
/// with the bytes read so far; `cancel` is looked at there.
std::vector<CheckedComponent> check_checkpoint(const std::string& folder, const ListOf& lists,
                                               const std::function<void(std::uint64_t bytes)>& progress = {},
                                               const base::CancelToken& cancel = {});

/// How many of the numbers are NaN or infinite. Whole numbers are always finite.
std::uint64_t count_not_finite(tensorfile::StoredType type, std::string_view bytes);

}  // namespace nightreel::weights
