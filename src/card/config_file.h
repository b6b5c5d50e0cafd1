// One JSON file of a checkpoint, read field by field. Every error is an Error{model}: "FILE: FIELD: reason".
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "nightreel/base/json.h"
#include "nightreel/card/checkpoint.h"

namespace nightreel::job {

class ConfigFile {
 public:
  static constexpr std::int64_t kMaxSize = 1 << 20;  // of any dimension: past it a config is nonsense

  /// Reads the file, which must hold an object; of an original folder what Diffusers would have there (checkpoint.h).
  explicit ConfigFile(const std::string& path);
  /// Reads the file itself: what an original folder says of itself must not be asked of that folder again.
  static ConfigFile as_it_stands(const std::string& path);

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
  explicit ConfigFile(CheckpointJson file);
  ConfigFile(std::string path, base::Json json);
  const base::Json& at(const std::string& field) const;
  std::string path_;
  base::Json json_;
};

}  // namespace nightreel::job
