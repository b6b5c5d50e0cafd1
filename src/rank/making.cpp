#include "nightreel/rank/making.h"

#include "nightreel/base/error.h"
#include "nightreel/rank/input_hashes.h"
#include "nightreel/settings/json.h"
#include "rank/sidecar.h"

namespace nightreel::rank {
namespace {

bool tells_another(const Json& told, const std::string& name, const Json& ours) {
  if (!told.is_object()) return false;
  const auto found = told.find(name);
  return found != told.end() && *found != ours;
}

std::string setting_that_differs(const Json& told, const settings::Settings& settings) {
  const Json ours = settings::to_json(settings);
  for (const auto& [name, value] : ours.items()) {
    if (tells_another(told, name, value)) return name;
  }
  return {};
}

// A sidecar may be anybody's: it is compared, and no file that it alone names is opened.
std::string input_that_differs(const Json& told, const settings::Settings& settings, const ContentOf& content_of) {
  for (const auto& path : input_files(settings)) {
    try {
      if (told.is_object() && told.contains(path) && told.at(path) != content_of(path)) return "the content of " + path;
    } catch (const base::Error&) {
      return "the content of " + path;
    }
  }
  return {};
}

}  // namespace

Making making_of(const protocol::ReadyEvent& renderer) {
  return {renderer.model_digest, text_in(renderer.model, "dtype")};
}

std::string difference(const Json& sidecar, const Making& making, const settings::Settings& settings,
                       const ContentOf& content_of) {
  if (tells_another(sidecar, "model_digest", making.model_digest)) return "the model";
  const std::string dtype = text_in(sidecar.value("model", Json::object()), "dtype");
  if (!dtype.empty() && !making.dtype.empty() && dtype != making.dtype) return "dtype";
  if (tells_another(sidecar, "crf", settings.crf)) return "crf";  // 0.1 did not count it among the settings
  const std::string setting = setting_that_differs(sidecar.value("settings", Json::object()), settings);
  if (!setting.empty()) return setting;
  return input_that_differs(sidecar.value("inputs", Json::object()), settings, content_of);
}

}  // namespace nightreel::rank
