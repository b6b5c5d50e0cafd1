// Typed access to a foreign JSON file whose errors name the file and the field. A view: the JSON must outlive it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "nightreel/base/json.h"

namespace nightreel::text {

class JsonField {
 public:
  /// `path` is the file's, `name` the field's from the file's root ("model.vocab").
  JsonField(const base::Json& value, std::string path, std::string name);

  /// A member of an object, an entry of a list; throws where there is none.
  JsonField at(const std::string& key) const;
  JsonField at(std::size_t index) const;
  /// Nothing where it is absent or null.
  std::optional<JsonField> find(const std::string& key) const;

  std::string string() const;
  std::int64_t index() const;  // 0 to 2^31 - 1
  bool boolean() const;
  bool boolean_or(const std::string& key, bool otherwise) const;
  std::string string_or(const std::string& key, const std::string& otherwise) const;
  std::vector<JsonField> list() const;
  bool is_string() const { return value_->is_string(); }
  bool is_object() const { return value_->is_object(); }
  const base::Json& json() const { return *value_; }

  /// Error{model}: "PATH: NAME: reason".
  [[noreturn]] void fail(const std::string& reason) const;

 private:
  void expect(bool right, const char* what) const;
  const base::Json* value_;
  std::string path_;
  std::string name_;
};

}  // namespace nightreel::text
