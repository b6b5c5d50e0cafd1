#include "rank/group_message.h"

#include <nlohmann/json.hpp>

#include "nightreel/base/error.h"

namespace nightreel::rank {

using Json = nlohmann::json;

std::string to_json(const GroupMessage& message) {
  return Json{{"what", message.what},
              {"start", message.start},
              {"text", message.text},
              {"words", message.words},
              {"silence_s", message.silence_s}}
      .dump(-1, ' ', false, Json::error_handler_t::replace);
}

GroupMessage group_message(const std::string& text) {
  try {
    const Json json = Json::parse(text);
    GroupMessage message;
    json.at("what").get_to(message.what);
    json.at("start").get_to(message.start);
    json.at("text").get_to(message.text);
    json.at("words").get_to(message.words);
    json.at("silence_s").get_to(message.silence_s);
    return message;
  } catch (const Json::exception& e) {
    throw base::Error(base::ErrorKind::environment, std::string("a group's message cannot be read: ") + e.what());
  }
}

}  // namespace nightreel::rank
