#include "job/config_file.h"

#include "nightreel/base/fields.h"
#include "nightreel/job/checkpoint.h"

namespace nightreel::job {

using base::Error;
using base::ErrorKind;
using base::Json;

ConfigFile::ConfigFile(std::string path, Json json) : path_(std::move(path)), json_(std::move(json)) {
  if (!json_.is_object()) throw Error(ErrorKind::model, base::printable(path_) + ": is no JSON object");
}

ConfigFile::ConfigFile(const std::string& path) : ConfigFile(checkpoint_json(path)) {}

ConfigFile::ConfigFile(CheckpointJson file) : ConfigFile(std::move(file.path), std::move(file.json)) {}

ConfigFile ConfigFile::as_it_stands(const std::string& path) {
  return ConfigFile(path, base::read_json(path));
}

void ConfigFile::refuse(const std::string& field, const std::string& reason) const {
  throw Error(ErrorKind::model, base::printable(path_) + ": " + base::printable(field, 80) + ": " + reason);
}

bool ConfigFile::has(const std::string& field) const {
  const auto found = json_.find(field);
  return found != json_.end() && !found->is_null();
}

const Json& ConfigFile::at(const std::string& field) const {
  if (!has(field)) refuse(field, "is missing");
  return *json_.find(field);
}

std::int64_t ConfigFile::integer(const std::string& field, std::int64_t low, std::int64_t high) const {
  try {
    return base::read_integer(at(field), low, high);
  } catch (const Error& e) {
    if (e.kind() == ErrorKind::model) throw;
    refuse(field, e.what());
  }
}

std::int64_t ConfigFile::integer(const std::string& field, std::int64_t low, std::int64_t high,
                                 std::int64_t otherwise) const {
  return has(field) ? integer(field, low, high) : otherwise;
}

double ConfigFile::number(const std::string& field, double low, double high, double otherwise) const {
  if (!has(field)) return otherwise;
  try {
    return base::read_number(at(field), low, high);
  } catch (const Error& e) {
    refuse(field, e.what());
  }
}

bool ConfigFile::boolean(const std::string& field, bool otherwise) const {
  if (!has(field)) return otherwise;
  if (!at(field).is_boolean()) refuse(field, "true or false is needed");
  return at(field).get<bool>();
}

std::string ConfigFile::text(const std::string& field) const {
  if (!at(field).is_string()) refuse(field, "text is needed");
  return at(field).get<std::string>();
}

}  // namespace nightreel::job
