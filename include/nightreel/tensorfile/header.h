// What a file of tensors says about them: names, stored types, shapes, where the bytes lie. No value is read.
//
// Plain values; any thread. The readers (safetensors.h, pth.h) check everything against the file's size, so that who
// holds a Header may look at any of its bytes.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace nightreel::tensorfile {

/// How numbers are stored: the types that safetensors knows.
enum class StoredType : std::uint8_t {
  f32,
  bf16,
  f16,
  f8_e4m3,
  f64,
  f8_e5m2,
  i64,
  i32,
  i16,
  i8,
  u64,
  u32,
  u16,
  u8,
  boolean
};

/// safetensors' name of it: "F32", "F8_E4M3", "BOOL".
std::string_view name(StoredType type);
/// By that name; nothing for one that safetensors does not know.
std::optional<StoredType> find_stored_type(std::string_view name);
/// Of one number.
std::uint64_t bytes_of(StoredType type);

/// A tensor as the file holds it.
struct StoredTensor {
  StoredType type = StoredType::f32;
  std::vector<std::int64_t> shape;
  std::uint64_t offset = 0;                // of its first byte, from the start of the file
  std::uint64_t bytes = 0;                 // from its first element to its last
  std::vector<std::int64_t> strides = {};  // in elements; empty: row by row, without gaps

  bool row_major() const { return strides.empty(); }
};

struct Header {
  std::map<std::string, StoredTensor> tensors;
  std::map<std::string, std::string> metadata;  // what the writer noted, unchecked; .pth has none
};

}  // namespace nightreel::tensorfile
