#include "queue/server_check.h"

#include <cstdlib>

namespace nightreel::queue {
namespace {

// The answer, or nothing where the server refuses the command (ACL, renamed commands of a managed Redis).
std::optional<Reply> permitted(const Ask& ask, const std::vector<std::string>& args) {
  try {
    return ask(args);
  } catch (const RedisError& e) {
    const bool refused = e.fault() == RedisFault::refused ||
                         (e.fault() == RedisFault::auth && std::string_view(e.what()).substr(0, 6) == "NOPERM");
    if (!refused) throw;
    return std::nullopt;
  }
}

// The value of "name:value" in INFO's text.
std::string info_field(const std::string& info, const std::string& name) {
  const auto at = ("\n" + info).find("\n" + name + ":");
  if (at == std::string::npos) return "";
  const auto start = at + name.size() + 1;
  return info.substr(start, info.find_first_of("\r\n", start) - start);
}

bool older_than_6_2(const std::string& version) {
  char* end = nullptr;
  const unsigned long major = std::strtoul(version.c_str(), &end, 10);
  const unsigned long minor = *end == '.' ? std::strtoul(end + 1, nullptr, 10) : 0;
  return major < 6 || (major == 6 && minor < 2);
}

void check_version(const std::string& info) {
  const std::string version = info_field(info, "redis_version");
  if (info_field(info, "redis_mode") == "sentinel") {
    throw RedisError(RedisFault::unsuitable,
                     "this is a Sentinel, which is not supported; name the Redis servers themselves, separated by "
                     "commas");
  }
  if (version.empty()) throw RedisError(RedisFault::unsuitable, "its INFO names no redis_version");
  if (older_than_6_2(version)) {
    throw RedisError(RedisFault::unsuitable,
                     "version " + base::printable(version, 40) + " is too old; Redis 6.2 or newer is needed");
  }
}

std::optional<std::string> setting(const Ask& ask, const std::string& name) {
  const auto reply = permitted(ask, {"CONFIG", "GET", name});
  if (!reply || reply->array().size() < 2) return std::nullopt;
  return reply->at(1).text();
}

// From INFO too, which says it where CONFIG is disabled, as managed servers have it.
std::optional<std::string> policy_of(const Ask& ask) {
  if (auto policy = setting(ask, "maxmemory-policy")) return policy;
  const auto info = permitted(ask, {"INFO", "memory"});
  const std::string told = info ? info_field(info->text(), "maxmemory_policy") : "";
  return told.empty() ? std::nullopt : std::optional(told);
}

// What a restart would lose, for people; empty: nothing that is known of.
std::string persistence_warning(const Ask& ask) {
  const auto append_only = setting(ask, "appendonly");
  const auto save = setting(ask, "save");
  if (append_only == "no" && save && save->empty()) {
    return "it keeps nothing on disk, so a restart loses the queue; run: redis-cli CONFIG SET appendonly yes";
  }
  if (append_only) return "";
  const auto info = permitted(ask, {"INFO", "persistence"});
  if (!info || info_field(info->text(), "aof_enabled") != "0") return "";
  return "it keeps no append-only file, and whether it saves snapshots it does not say: a restart may lose the queue; "
         "turn its persistence on";
}

}  // namespace

void log_in(const RedisAddress& address, const std::string& client_name, const Ask& ask) {
  if (!address.password.empty()) {
    std::vector<std::string> words{"AUTH"};
    if (!address.user.empty()) words.push_back(address.user);
    words.push_back(address.password);
    try {
      ask(words);
    } catch (const RedisError& e) {
      if (e.fault() != RedisFault::refused) throw;
      // A server without a password is told one: redis-cli warns and goes on, and REDIS_PASSWORD may be meant for
      // another address of the list.
      // Any other text is not passed on: an unknown command's arguments are echoed, and here that is the password.
      if (std::string_view(e.what()).find("without any password configured") == std::string_view::npos) {
        throw RedisError(RedisFault::auth, "AUTH was refused");
      }
    }
  }
  if (!client_name.empty()) permitted(ask, {"CLIENT", "SETNAME", client_name});
  if (address.db != 0) ask({"SELECT", std::to_string(address.db)});
}

std::vector<std::string> check_server(const Ask& ask) {
  if (const auto info = permitted(ask, {"INFO", "server"})) check_version(info->text());
  const auto policy = policy_of(ask);
  if (policy && *policy != "noeviction") {
    throw RedisError(RedisFault::unsuitable, "its maxmemory-policy is " + base::printable(*policy, 40) +
                                                 ", which may drop jobs; run: redis-cli CONFIG SET maxmemory-policy "
                                                 "noeviction, or set it where the server is managed");
  }
  const std::string warning = persistence_warning(ask);
  return warning.empty() ? std::vector<std::string>() : std::vector{warning};
}

}  // namespace nightreel::queue
