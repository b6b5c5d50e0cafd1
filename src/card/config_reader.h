// Reads one JSON file of a checkpoint field by field, and knows in the end which fields nobody asked for.
//
// Python writes None as null: such a field counts as absent. Errors are Error{model}: "FILE: FIELD: reason". One
// thread.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <set>
#include <string>
#include <vector>

#include "nightreel/base/json.h"

namespace nightreel::card {

class ConfigReader {
 public:
  static constexpr std::int64_t kMaxSize = 1 << 20;  // of any dimension: past it a config is nonsense

  /// `path` is named in errors. Throws where `config` is no object.
  ConfigReader(base::Json config, std::string path);
  /// The file `path`, or of an original folder what Diffusers would have there (checkpoint.h).
  static ConfigReader of(const std::string& path);

  const std::string& path() const { return path_; }
  [[noreturn]] void refuse(const std::string& field, const std::string& reason) const;

  bool has(const std::string& field);
  /// The value, or null where the file says nothing.
  const base::Json& value(const std::string& field);
  std::int64_t integer(const std::string& field, std::int64_t otherwise, std::int64_t high = kMaxSize,
                       std::int64_t low = 1);
  double number(const std::string& field, double low, double high, double otherwise);
  /// A number above 0 and below 1.
  double fraction(const std::string& field, double otherwise);
  bool boolean(const std::string& field, bool otherwise);
  /// Must be there.
  std::string text(const std::string& field);
  std::vector<std::int64_t> integers(const std::string& field, std::vector<std::int64_t> otherwise, std::int64_t high);
  std::vector<bool> booleans(const std::string& field, std::vector<bool> otherwise);
  /// Finite numbers.
  std::vector<double> numbers(const std::string& field, std::vector<double> otherwise);

  std::int64_t check_integer(const std::string& field, const base::Json& value, std::int64_t low,
                             std::int64_t high) const;

  /// Only `only` will do, or silence. `reason` says what this program has instead.
  void require(const std::string& field, const base::Json& only, const std::string& reason);
  /// Fields that change nothing in what this program computes.
  void ignore(std::initializer_list<const char*> fields) { known_.insert(fields.begin(), fields.end()); }
  /// Every field must have been asked for, but for null ones and those whose name begins with an underscore.
  void refuse_unknown() const;

 private:
  /// Nothing (null) or a list that is not empty.
  const base::Json& list(const std::string& field);

  base::Json config_;
  std::string path_;
  std::set<std::string> known_;
};

}  // namespace nightreel::card
