#include "media/hdf5_content.h"

#include "nightreel/base/error.h"
#include "nightreel/base/json.h"

namespace nightreel::media {

using base::Error;
using base::ErrorKind;

void Hdf5Content::fail(const std::string& what) const {
  throw Error(ErrorKind::storage, path_ + ": " + what);
}

const hdf5::Entry& Hdf5Content::attribute(const std::string& word, const std::string& name) const {
  const hdf5::Entry* entry = content_.find(word);
  if (entry == nullptr || entry->missing) fail("attribute " + name + " is missing");
  if (!entry->problem.empty()) fail(entry->problem);
  return *entry;
}

std::string Hdf5Content::text(const std::string& name) const {
  return attribute("text:" + name, name).bytes;
}

std::int64_t Hdf5Content::integer(const std::string& name) const {
  return attribute("integer:" + name, name).integer;
}

nlohmann::json Hdf5Content::json(const std::string& name) const {
  try {
    return base::parse_json(text(name));
  } catch (const Error& e) {
    if (e.kind() == ErrorKind::storage) throw;
    fail("attribute " + name + ": " + e.what());
  }
}

bool Hdf5Content::has(const std::string& dataset) const {
  const hdf5::Entry* entry = content_.find("data:" + dataset);
  return entry != nullptr && !entry->missing;
}

const hdf5::Entry& Hdf5Content::dataset(const std::string& name) const {
  const hdf5::Entry* entry = content_.find("data:" + name);
  if (entry == nullptr || entry->missing) fail("dataset /" + name + " is missing");
  if (!entry->problem.empty()) fail(entry->problem);
  return *entry;
}

}  // namespace nightreel::media
