#include "queue/wrong_type.h"

#include <array>

namespace nightreel::queue {
namespace {

struct Typed {
  const char* key;
  const char* type;
};
constexpr std::array<Typed, 15> kKeys{{{"inbox", "list"},
                                       {"pend", "zset"},
                                       {"delay", "zset"},
                                       {"run", "zset"},
                                       {"done", "zset"},
                                       {"failed", "zset"},
                                       {"cancelled", "zset"},
                                       {"events", "stream"},
                                       {"leases", "hash"},
                                       {"before", "set"},
                                       {"incarnation", "string"},
                                       {"seq", "string"},
                                       {"fence", "string"},
                                       {"clock", "string"},
                                       {"model", "string"}}};

}  // namespace

bool is_wrong_type(const RedisError& error) {
  return error.fault() == RedisFault::refused && std::string_view(error.what()).find("WRONGTYPE") != std::string::npos;
}

RedisError wrong_type(const RedisError& error, const std::string& prefix,
                      const std::function<std::string(const std::string& key)>& type_of) {
  for (const Typed& one : kKeys) {
    const std::string key = prefix + one.key;
    const std::string type = type_of(key);
    if (type == one.type || type == "none") continue;
    return {RedisFault::refused, "key " + key + " holds a " + type + ", the queue keeps a " + one.type +
                                     " there; somebody wrote over it: delete or rename the key"};
  }
  return {RedisFault::refused, std::string(error.what()) + "; a job's key below " + prefix + " holds something else"};
}

}  // namespace nightreel::queue
