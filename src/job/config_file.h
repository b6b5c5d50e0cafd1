// One JSON file of a checkpoint, read field by field. Every error is an Error{model}: "FILE: FIELD: reason".
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "nightreel/base/json.h"

namespace nightreel::job {

class ConfigFile {
 public:
  /// Reads the file, which must hold an object; of an original folder what Diffusers would have there (checkpoint.h).
  explicit ConfigFile(const std::string& path);

  const std::string& path() const { return path_; }
  const base::Json& json() const { return json_; }
  /// Python writes None as null: such a field counts as absent.
  bool has(const std::string& field) const;

  std::int64_t integer(const std::string& field, std::int64_t low, std::int64_t high) const;
  std::int64_t integer(const std::string& field, std::int64_t low, std::int64_t high, std::int64_t otherwise) const;
  double number(const std::string& field, double low, double high, double otherwise) const;
  bool boolean(const std::string& field, bool otherwise) const;
  std::string text(const std::string& field) const;

  [[noreturn]] void refuse(const std::string& field, const std::string& reason) const;

 private:
  const base::Json& at(const std::string& field) const;
  std::string path_;
  base::Json json_;
};

}  // namespace nightreel::job
