#include <algorithm>

#include "nightreel/tensorfile/header.h"

namespace nightreel::tensorfile {

namespace {

struct TypeRow {
  std::string_view name;
  std::uint64_t bytes;
};

// In the order of StoredType.
constexpr std::array<TypeRow, 15> kTypes{{{"F32", 4},
                                          {"BF16", 2},
                                          {"F16", 2},
                                          {"F8_E4M3", 1},
                                          {"F64", 8},
                                          {"F8_E5M2", 1},
                                          {"I64", 8},
                                          {"I32", 4},
                                          {"I16", 2},
                                          {"I8", 1},
                                          {"U64", 8},
                                          {"U32", 4},
                                          {"U16", 2},
                                          {"U8", 1},
                                          {"BOOL", 1}}};

const TypeRow& row_of(StoredType type) {
  return kTypes.at(static_cast<std::size_t>(type));
}

}  // namespace

std::string_view name(StoredType type) {
  return row_of(type).name;
}

std::optional<StoredType> find_stored_type(std::string_view name) {
  const auto* found = std::find_if(kTypes.begin(), kTypes.end(), [&](const TypeRow& row) { return row.name == name; });
  if (found == kTypes.end()) return std::nullopt;
  return static_cast<StoredType>(found - kTypes.begin());
}

std::uint64_t bytes_of(StoredType type) {
  return row_of(type).bytes;
}

}  // namespace nightreel::tensorfile
