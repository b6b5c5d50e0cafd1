// Which key of a queue somebody has written something else under: Redis says WRONGTYPE and no more.
//
// Plain functions; the thread of the connection. Private to the queue layer.
#pragma once

#include <functional>
#include <string>

#include "nightreel/queue/redis.h"

namespace nightreel::queue {

bool is_wrong_type(const RedisError& error);

/// The same error with the key's name and the fix, where `type_of` (the command TYPE) finds one that is wrong.
RedisError wrong_type(const RedisError& error, const std::string& prefix,
                      const std::function<std::string(const std::string& key)>& type_of);

}  // namespace nightreel::queue
