// The pickle inside a .pth file, as far as a state dict needs one. Nothing is executed.
//
// A pickle is a program for a stack machine that may import and call anything. This reader has the opcodes that
// torch.save writes for a dict of tensors, knows the names collections.OrderedDict, torch._utils._rebuild_tensor_v2,
// _rebuild_tensor_v3, _rebuild_parameter, torch's storages and dtypes, and refuses all others by name. Values lie in
// flat tables and refer to each other by number, so that neither depth nor cycles cost a stack or a leak; memory is
// bounded by a constant times the pickle's bytes, of which it takes 8 MiB at most (the largest known has 0.4).
// Plain function; any thread. Errors are base::Error{model} without the file's name.
// Opcodes: CPython, Lib/pickletools.py.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "nightreel/tensorfile/header.h"

namespace nightreel::tensorfile {

/// A tensor as the pickle describes it; nothing here has been compared with a storage yet.
struct PickledTensor {
  StoredType type = StoredType::f32;
  std::string storage;  // the entry under data/ that holds its storage
  std::int64_t storage_bytes = 0;
  std::int64_t offset = 0;  // of its first element in the storage, in elements
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> strides;  // in elements, as many as sizes
};

std::map<std::string, PickledTensor> read_state_dict(std::string_view pickle);

}  // namespace nightreel::tensorfile
