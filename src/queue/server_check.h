// What is said to a server right after the connection is made. Private to the queue layer.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "nightreel/queue/redis.h"

namespace nightreel::queue {

/// Sends one command on the new connection; throws RedisError.
using Ask = std::function<Reply(const std::vector<std::string>&)>;

/// AUTH, CLIENT SETNAME, SELECT.
void log_in(const RedisAddress& address, const std::string& client_name, const Ask& ask);

/// Refuses (RedisError{unsuitable}) Sentinel, Redis before 6.2 and an evicting maxmemory-policy; returns warnings.
/// What the server's ACL keeps from us is not checked.
std::vector<std::string> check_server(const Ask& ask);

}  // namespace nightreel::queue
