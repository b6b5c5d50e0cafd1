// Where a Redis is: what --redis and the environment say.
//
// Plain values, no resources; any thread. Bad text is Error{usage}, a scheme that this build cannot serve is
// Error{environment}; no message ever carries a password.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace nightreel::queue {

/// Files in PEM. Without ca_file the system's authorities count (or what SSL_CERT_FILE and SSL_CERT_DIR name).
struct RedisTls {
  std::string ca_file;
  std::string cert_file;  // of this client, where the server wants one; then with key_file
  std::string key_file;
};

struct RedisAddress {
  std::string host;  // empty: unix_path
  int port = 6379;
  std::string unix_path;
  std::string user;      // empty: Redis' own default user
  std::string password;  // empty: none
  int db = 0;
  std::optional<RedisTls> tls = {};  // rediss://
  std::string file = {};             // of a private server: OUT/queue/address, read again at each connection

  /// "redis://host:6379/0", "unix:///run/redis.sock": without user and password, for people.
  std::string display() const;
};

/// One address, or several separated by commas, that are tried in turn: `redis://[user:pass@]host[:port][/db]`,
/// `unix://[user:pass@]/path[?db=N]`, and in a build with TLS `rediss://` as redis-py has it, with the files as
/// `?ssl_ca_certs=FILE&ssl_certfile=FILE&ssl_keyfile=FILE`. User, password and file names are percent-decoded.
std::vector<RedisAddress> parse_redis_addresses(std::string_view text);

/// For the ranks of one world, passwords included: never for people.
std::string to_json(const std::vector<RedisAddress>& addresses);
std::vector<RedisAddress> addresses_from_json(const std::string& json);

/// An environment variable's value; nothing where it is unset.
using EnvLookup = std::function<std::optional<std::string>(const std::string& name)>;

/// The environment of this process.
std::optional<std::string> process_env(const std::string& name);

/// `flag` (--redis, may be empty) > REDIS_URL > REDIS_HOST with REDIS_PORT. REDIS_USERNAME and REDIS_PASSWORD serve
/// every address that states no password. Each variable may be given as NAME_FILE instead: a file that holds the value
/// (a mounted secret; its trailing line end is not part of it). Nothing where none of them names a Redis.
std::optional<std::vector<RedisAddress>> find_redis(std::string_view flag, const EnvLookup& env);

}  // namespace nightreel::queue
