// What OUT's own redis-server is told at its start. Private to the queue layer.
#pragma once

#include <string>

#include "nightreel/queue/redis_address.h"
#include "queue/queue_folder.h"

namespace nightreel::queue {

/// The user that may do everything, SHUTDOWN and CONFIG SET too; its password stands in QueueFolder::owner_file().
inline constexpr const char* kOwner = "owner";

/// redis.conf's text. `address` has the port, and the password of Redis' default user, which ranks are: it may use the
/// queue's keys and no command that administers the server, which writes files as whoever started it.
std::string server_configuration(const QueueFolder& folder, const RedisAddress& address,
                                 const std::string& owner_password, const std::string& interface);

/// `address` with the owner's name and password; as it is where the folder has none (a server of version 0.1).
RedisAddress as_owner(const QueueFolder& folder, RedisAddress address);

}  // namespace nightreel::queue
