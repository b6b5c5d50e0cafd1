#include "queue/server_configuration.h"

#include <fmt/format.h>

#include "nightreel/base/error.h"
#include "nightreel/base/file.h"

namespace nightreel::queue {
namespace {

constexpr std::size_t kLongestPassword = 4096;

// redis.conf's quoting, so that no path can break out of its line.
std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte >= 0x7f || c == '"' || c == '\\') {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out + "\"";
}

}  // namespace

// The ranks' rights are those of docs/redis.md.
std::string server_configuration(const QueueFolder& folder, const RedisAddress& address,
                                 const std::string& owner_password, const std::string& interface) {
  return fmt::format(
      "bind 127.0.0.1 {}\nport {}\n"
      "user default on >{} ~nightreel:* &* +@all -@admin -@dangerous +info +config|get\n"
      "user {} on >{} ~* &* +@all\n"
      "dir {}\nlogfile {}\n"
      "appendonly yes\nappendfsync always\nsave \"\"\nmaxmemory-policy noeviction\n"
      "daemonize no\nset-proc-title no\ntcp-keepalive 30\n",
      interface, address.port, address.password, kOwner, owner_password, quoted(folder.data()), quoted(folder.log()));
}

RedisAddress as_owner(const QueueFolder& folder, RedisAddress address) {
  std::string password;
  try {
    password = base::read_file(folder.owner_file(), kLongestPassword);
  } catch (const base::Error&) {
    return address;
  }
  while (!password.empty() && password.back() == '\n') password.pop_back();
  if (password.empty()) return address;
  address.user = kOwner;
  address.password = password;
  return address;
}

}  // namespace nightreel::queue
