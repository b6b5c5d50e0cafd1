// The header of a safetensors file.
//
// Everything that it says is checked, against the size of the file too, so that a truncated or hostile file is a
// base::Error{model} naming the file and the tensor: headers above 100 MB, duplicate names, unknown types, tensors that
// overlap, leave holes or reach beyond the file, and sizes that do not follow from shape and type. Plain functions; any
// thread. Format: https://github.com/huggingface/safetensors (README, "Format").
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "nightreel/tensorfile/header.h"
#include "nightreel/tensorfile/mapped_file.h"

namespace nightreel::tensorfile {

/// Maps `path`, which must be long enough for a header.
MappedFile map_safetensors(const std::string& path);
/// The same of an absolute path that was resolved: a symbolic link that stands in its way now is refused.
MappedFile map_resolved_safetensors(const std::string& path);

Header safetensors_header(const MappedFile& file);

/// The same of a file that is not mapped: one that shrinks meanwhile is an error, not the end of the process.
Header read_safetensors_header(const std::string& path);

}  // namespace nightreel::tensorfile
