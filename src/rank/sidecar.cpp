#include "rank/sidecar.h"

#include "nightreel/base/error.h"
#include "nightreel/base/file.h"

namespace nightreel::rank {
namespace {

constexpr std::size_t kMaxSidecar = 8U << 20U;

}  // namespace

Json read_sidecar(const std::string& path) {
  try {
    Json sidecar = base::parse_json(base::read_file(path, kMaxSidecar));
    return sidecar.is_object() ? sidecar : Json::object();
  } catch (const base::Error&) {
    return Json::object();
  }
}

std::string text_in(const Json& object, const std::string& name) {
  if (!object.is_object()) return {};
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

Owner owner_in(const Json& sidecar) {
  return {text_in(sidecar, "id"), text_in(sidecar, "job_hash"), text_in(sidecar, "sha256")};
}

}  // namespace nightreel::rank
