// The file formats that tensors are read from, by the ends of files' names: one row each.
//
// Plain values; any thread. What the rows' functions throw is told where they are declared.
#pragma once

#include <string>
#include <string_view>

#include "nightreel/tensorfile/header.h"
#include "nightreel/tensorfile/mapped_file.h"

namespace nightreel::tensorfile {

struct Format {
  std::string_view extension;  // ".safetensors"
  MappedFile (*map)(const std::string& path);
  Header (*header)(const MappedFile& file);
};

/// Null where no format has that extension.
const Format* format_of(const std::string& path);

}  // namespace nightreel::tensorfile
