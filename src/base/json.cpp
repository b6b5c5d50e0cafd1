#include "nightreel/base/json.h"

#include <set>
#include <vector>

#include "nightreel/base/error.h"
#include "nightreel/base/file.h"

namespace nightreel::base {
namespace {

constexpr int kMaxDepth = 64;

// nlohmann keeps the last of two equal keys; a job that says "seed" twice is a mistake that must be seen.
class StrictChecker {
 public:
  bool operator()(int depth, Json::parse_event_t event, const Json& parsed) {
    const bool opens = event == Json::parse_event_t::object_start || event == Json::parse_event_t::array_start;
    if (opens && depth >= kMaxDepth) throw Error(ErrorKind::usage, "nested deeper than 64 levels");
    switch (event) {
      case Json::parse_event_t::object_start:
        keys_.emplace_back();
        break;
      case Json::parse_event_t::object_end:
        keys_.pop_back();
        break;
      case Json::parse_event_t::key:
        if (!keys_.back().insert(parsed.get<std::string>()).second) {
          throw Error(ErrorKind::usage, printable(parsed.get<std::string>()) + ": the key stands twice");
        }
        break;
      default:
        break;
    }
    return true;
  }

 private:
  std::vector<std::set<std::string>> keys_;
};

}  // namespace

Json parse_json(std::string_view text) {
  auto checker = std::make_shared<StrictChecker>();
  try {
    return Json::parse(text, [checker](int depth, Json::parse_event_t event, Json& parsed) {
      return (*checker)(depth, event, parsed);
    });
  } catch (const Json::exception& e) {
    std::string why = e.what();
    const auto bracket = why.find("] ");  // "[json.exception.parse_error.101] parse error at line 1, …"
    throw Error(ErrorKind::usage, printable(bracket == std::string::npos ? why : why.substr(bracket + 2), 300));
  }
}

std::string dump_json(const Json& value, int indent) {
  return value.dump(indent, ' ', false, Json::error_handler_t::replace);
}

Json read_json(const std::string& path, std::size_t limit) {
  try {
    return parse_json(read_file(path, limit));
  } catch (const Error& e) {
    const std::string message = e.what();
    const bool named = message.find(printable(path, std::string::npos)) != std::string::npos;
    throw Error(ErrorKind::model, named ? message : path + ": " + message);
  }
}

}  // namespace nightreel::base
