#include "text/json_fields.h"

#include <limits>

#include "nightreel/base/error.h"

namespace nightreel::text {

JsonField::JsonField(const base::Json& value, std::string path, std::string name)
    : value_(&value), path_(std::move(path)), name_(std::move(name)) {}

void JsonField::fail(const std::string& reason) const {
  const std::string where = name_.empty() ? path_ : path_ + ": " + base::printable(name_);
  throw base::Error(base::ErrorKind::model, where + ": " + reason);
}

void JsonField::expect(bool right, const char* what) const {
  if (!right) fail(std::string("is no ") + what);
}

std::optional<JsonField> JsonField::find(const std::string& key) const {
  expect(value_->is_object(), "object");
  const auto found = value_->find(key);
  if (found == value_->end() || found->is_null()) return std::nullopt;
  return JsonField(*found, path_, name_.empty() ? key : name_ + "." + key);
}

JsonField JsonField::at(const std::string& key) const {
  auto found = find(key);
  if (!found) fail("\"" + key + "\" is missing");
  return *found;
}

JsonField JsonField::at(std::size_t index) const {
  expect(value_->is_array(), "list");
  if (index >= value_->size()) fail("has only " + std::to_string(value_->size()) + " entries");
  return {(*value_)[index], path_, name_ + "[" + std::to_string(index) + "]"};
}

std::string JsonField::string() const {
  expect(value_->is_string(), "string");
  return value_->get<std::string>();
}

std::int64_t JsonField::index() const {
  const bool right =
      value_->is_number_unsigned() && value_->get<std::uint64_t>() <= std::numeric_limits<std::int32_t>::max();
  expect(right, "token id or count");
  return value_->get<std::int64_t>();
}

bool JsonField::boolean() const {
  expect(value_->is_boolean(), "true or false");
  return value_->get<bool>();
}

bool JsonField::boolean_or(const std::string& key, bool otherwise) const {
  const auto field = find(key);
  return field ? field->boolean() : otherwise;
}

std::string JsonField::string_or(const std::string& key, const std::string& otherwise) const {
  const auto field = find(key);
  return field ? field->string() : otherwise;
}

std::vector<JsonField> JsonField::list() const {
  expect(value_->is_array(), "list");
  std::vector<JsonField> entries;
  for (std::size_t i = 0; i < value_->size(); ++i) entries.push_back(at(i));
  return entries;
}

}  // namespace nightreel::text
