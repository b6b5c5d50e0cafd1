// Reads a component's config.json entry by entry, and knows in the end which settings nobody asked for.
//
// Errors are base::Error{model}: "PATH: KEY: reason". One thread.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace nightreel::model {

class ConfigReader {
 public:
  ConfigReader(const nlohmann::json& config, std::string path);

  [[noreturn]] void refuse(const std::string& key, const std::string& why) const;

  /// The value, or null where the file says nothing.
  nlohmann::json value(const std::string& key);
  /// A whole number from 1 to `max`.
  std::int64_t integer(const std::string& key, std::int64_t fallback, std::int64_t max = 1 << 20);
  /// A number above 0 and below 1.
  double fraction(const std::string& key, double fallback);
  bool boolean(const std::string& key, bool fallback);
  std::vector<std::int64_t> integers(const std::string& key, std::vector<std::int64_t> fallback, std::int64_t max);
  std::vector<bool> booleans(const std::string& key, std::vector<bool> fallback);
  /// Finite numbers.
  std::vector<double> numbers(const std::string& key, std::vector<double> fallback);

  /// Only `only` will do, or silence. `why` says what this program has instead.
  void require(const std::string& key, const nlohmann::json& only, const std::string& why);
  /// Settings that change nothing in what this program computes.
  void ignore(const std::vector<std::string>& keys) { known_.insert(keys.begin(), keys.end()); }
  /// Every entry must have been asked for, but for null ones and those whose name begins with an underscore.
  void refuse_unknown() const;

  std::int64_t check_size(const std::string& key, const nlohmann::json& entry, std::int64_t max) const;

 private:
  /// The list under `key`, or nothing.
  std::optional<nlohmann::json> list(const std::string& key);

  const nlohmann::json& config_;
  std::string path_;
  std::set<std::string> known_;
};

}  // namespace nightreel::model
