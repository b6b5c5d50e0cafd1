// TLS over a hiredis connection, in a build that has it (NIGHTREEL_REDIS_TLS). Private to the queue layer.
//
// tls_openssl.cpp and tls_none.cpp are the two builds. A session belongs to its connection and goes with it.
#pragma once

#include <functional>
#include <string>

#include "nightreel/queue/redis_address.h"

struct redisContext;
struct ssl_st;

namespace nightreel::queue {

/// Whether rediss:// works in this build.
bool tls_available();

/// Waits until the connection's socket is ready for `events` (of poll), or throws.
using WaitFor = std::function<void(short events)>;

/// Starts TLS on a connected, non-blocking `connection` and checks the server's certificate and that it is `host`'s.
/// Throws RedisError{connection} where the handshake fails, {unsuitable} where the certificate is not accepted or a
/// file of `tls` cannot be used, and what `wait` throws.
ssl_st* start_tls(redisContext& connection, const RedisTls& tls, const std::string& host, const WaitFor& wait);

/// Whether bytes have been received that the socket does not show any more.
bool has_received(const ssl_st* session);

}  // namespace nightreel::queue
