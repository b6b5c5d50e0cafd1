// The build without TLS: hiredis before 1.0 has none. parse_redis_addresses refuses rediss:// then.
#include "nightreel/base/error.h"
#include "queue/tls.h"

namespace nightreel::queue {

bool tls_available() {
  return false;
}

ssl_st* start_tls(redisContext& /*connection*/, const RedisTls& /*tls*/, const std::string& /*host*/,
                  const WaitFor& /*wait*/) {
  throw base::Error(base::ErrorKind::environment, "this build has no TLS");
}

bool has_received(const ssl_st* /*session*/) {
  return false;
}

}  // namespace nightreel::queue
