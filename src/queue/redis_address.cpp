#include "nightreel/queue/redis_address.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdlib>

#include "nightreel/base/error.h"
#include "nightreel/base/file.h"
#include "nightreel/base/json.h"
#include "queue/tls.h"

namespace nightreel::queue {
namespace {

using base::Error;
using base::ErrorKind;

constexpr std::string_view kWritten = "write redis://[user:password@]host[:port][/db] or unix:///path";

bool is_scheme(std::string_view text) {
  return !text.empty() && text.size() <= 16 &&
         std::all_of(text.begin(), text.end(), [](char c) { return (c >= 'a' && c <= 'z') || c == '+' || c == '-'; });
}

// What messages show of `text`, an address of a list. Somewhere before an "@" a password may stand, and in text that
// cannot be parsed nobody knows where it ends: where the whole list holds an "@", only the scheme is shown. Without one
// a password may stand behind the first sign that no host has.
std::string shown_of(std::string_view text, bool secret) {
  const auto end = text.find("://");
  const bool has_scheme = end != std::string_view::npos && is_scheme(text.substr(0, end));
  const std::string scheme = has_scheme ? std::string(text.substr(0, end + 3)) : "";
  if (secret) return scheme + "***";
  const std::string_view rest = has_scheme ? text.substr(end + 3) : text;
  const bool socket = scheme == "unix://";
  const auto shown = rest.substr(0, rest.find_first_of(socket ? "?," : "?,#/: \t"));
  return scheme + base::printable(shown) + (shown.size() < rest.size() ? "…" : "");
}

// `shown`: shown_of() the address.
[[noreturn]] void refuse(std::string_view shown, const std::string& why) {
  throw Error(ErrorKind::usage,
              "Redis address " + std::string(shown) + ": " + why + " (" + std::string(kWritten) + ")");
}

std::optional<int> whole_number(std::string_view text, int low, int high) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < low || value > high) return std::nullopt;
  return value;
}

std::string percent_decoded(std::string_view text, std::string_view shown) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    unsigned value = 0;
    const char* digits = text.data() + i + 1;
    if (i + 2 >= text.size() || std::from_chars(digits, digits + 2, value, 16).ptr != digits + 2) {
      refuse(shown, "a % that is not followed by two hex digits");
    }
    out += static_cast<char>(value);
    i += 2;
  }
  if (out.find('\0') != std::string::npos) refuse(shown, "a zero byte");
  return out;
}

// Takes "user:password@" off the front of `rest`.
void take_credentials(std::string_view& rest, RedisAddress& address, std::string_view shown) {
  const auto at = rest.rfind('@');
  if (at == std::string_view::npos) return;
  const std::string_view pair = rest.substr(0, at);
  rest.remove_prefix(at + 1);
  const auto colon = pair.find(':');
  address.user = percent_decoded(pair.substr(0, colon), shown);
  if (colon != std::string_view::npos) address.password = percent_decoded(pair.substr(colon + 1), shown);
}

void set_db(std::string_view text, RedisAddress& address, std::string_view shown) {
  const auto db = whole_number(text, 0, 1'000'000);
  if (!db) refuse(shown, "the database is no number");
  address.db = *db;
}

void set_option(std::string_view name, std::string_view value, RedisAddress& address, std::string_view shown) {
  if (name == "db") return set_db(value, address, shown);
  if (!address.tls) refuse(shown, "an option other than ?db=N");
  for (const auto& [option, file] : {std::pair{"ssl_ca_certs", &RedisTls::ca_file},
                                     {"ssl_certfile", &RedisTls::cert_file},
                                     {"ssl_keyfile", &RedisTls::key_file}}) {
    if (name != option) continue;
    (*address.tls).*file = percent_decoded(value, shown);
    return;
  }
  refuse(shown, "an option other than db, ssl_ca_certs, ssl_certfile and ssl_keyfile");
}

void take_query(std::string_view& rest, RedisAddress& address, std::string_view shown) {
  const auto mark = rest.find('?');
  if (mark == std::string_view::npos) return;
  std::string_view query = rest.substr(mark + 1);
  rest = rest.substr(0, mark);
  for (;;) {
    const auto end = query.find('&');
    const std::string_view option = query.substr(0, end);
    const auto equals = std::min(option.find('='), option.size());
    set_option(option.substr(0, equals), option.substr(std::min(equals + 1, option.size())), address, shown);
    if (end == std::string_view::npos) break;
    query.remove_prefix(end + 1);
  }
  if (address.tls && address.tls->cert_file.empty() != address.tls->key_file.empty()) {
    refuse(shown, "ssl_certfile and ssl_keyfile belong together");
  }
}

// Letters, digits, '.', '-' and the '_' of container networks.
bool is_of_host(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '-' || c == '_';
}

void set_host_and_port(std::string_view text, RedisAddress& address, std::string_view shown) {
  auto colon = text.rfind(':');
  if (!text.empty() && text.front() == '[') {  // IPv6: the colons inside the brackets separate no port
    const auto close = text.find(']');
    if (close == std::string_view::npos) refuse(shown, "a [ without its ]");
    address.host = text.substr(1, close - 1);
    colon = close + 1 < text.size() ? close + 1 : std::string_view::npos;
    if (colon != std::string_view::npos && text[colon] != ':') refuse(shown, "text after the ]");
  } else {
    address.host = text.substr(0, colon);
  }
  if (address.host.empty()) refuse(shown, "no host");
  if (text.front() != '[' && !std::all_of(address.host.begin(), address.host.end(), is_of_host)) {
    refuse(shown, "a bad host; @, /, # and ? in a user or password must be written %40, %2F, %23 and %3F");
  }
  if (colon == std::string_view::npos) return;
  const auto port = whole_number(text.substr(colon + 1), 1, 65535);
  if (!port) refuse(shown, "the port is no number from 1 to 65535");
  address.port = *port;
}

void refuse_foreign_scheme(std::string_view scheme, const std::string& shown) {
  if (scheme == "redis" || scheme == "unix") return;
  if (scheme == "rediss") {
    if (tls_available()) return;
    throw Error(ErrorKind::environment, "Redis address " + shown +
                                            ": this build has no TLS; build with NIGHTREEL_REDIS_TLS, or use redis:// "
                                            "through a TLS tunnel (stunnel) or a private network");
  }
  if (scheme.find("sentinel") != std::string_view::npos) {
    throw Error(ErrorKind::environment,
                "Redis address " + shown +
                    ": Sentinel is not supported; name the Redis servers themselves, separated by commas");
  }
  if (scheme.find("cluster") != std::string_view::npos) {
    throw Error(ErrorKind::environment,
                "Redis address " + shown + ": Redis Cluster is not supported; name a single Redis");
  }
  refuse(shown, "unknown scheme");
}

RedisAddress parse_one(std::string_view text, bool secret) {
  const std::string shown = shown_of(text, secret);
  const auto scheme_end = text.find("://");
  if (scheme_end == std::string_view::npos) {
    refuse(shown, secret ? "no scheme; a comma in a user or password must be written %2C" : "no scheme");
  }
  const std::string_view scheme = text.substr(0, scheme_end);
  refuse_foreign_scheme(scheme, shown);
  RedisAddress address;
  if (scheme == "rediss") address.tls.emplace();
  std::string_view rest = text.substr(scheme_end + 3);
  if (rest.empty() || rest.front() != '/') take_credentials(rest, address, shown);
  take_query(rest, address, shown);
  if (scheme == "unix") {
    if (rest.empty() || rest.front() != '/') refuse(shown, "the socket's path must be absolute");
    address.unix_path = rest;
    return address;
  }
  const auto slash = rest.find('/');
  if (slash != std::string_view::npos && slash + 1 < rest.size()) set_db(rest.substr(slash + 1), address, shown);
  set_host_and_port(rest.substr(0, slash), address, shown);
  return address;
}

// The variable, or the content of the file that NAME_FILE names; set but empty is as good as unset.
std::optional<std::string> value_or_file(const std::string& name, const EnvLookup& env) {
  auto value = env(name);
  if (value && !value->empty()) return value;
  const auto path = env(name + "_FILE");
  if (!path || path->empty()) return std::nullopt;
  constexpr std::size_t kLimit = 64U << 10U;
  std::string content = base::read_file(*path, kLimit);
  while (!content.empty() && (content.back() == '\n' || content.back() == '\r')) content.pop_back();
  if (content.empty()) throw Error(ErrorKind::environment, name + "_FILE: " + base::printable(*path) + " is empty");
  return content;
}

// "6379", or "tcp://10.96.0.12:6379", as Kubernetes sets it in each pod where a service is called redis.
int port_of(const std::string& text) {
  constexpr std::string_view kService = "tcp://";
  std::string_view digits = text;
  if (text.rfind(kService, 0) == 0) digits.remove_prefix(std::min(text.rfind(':') + 1, text.size()));
  const auto number = whole_number(digits, 1, 65535);
  if (number) return *number;
  throw Error(ErrorKind::usage, "REDIS_PORT: '" + base::printable(text) + "' is no port: write a number, 6379");
}

std::optional<std::vector<RedisAddress>> named_redis(std::string_view flag, const EnvLookup& env) {
  if (!flag.empty()) return parse_redis_addresses(flag);
  if (const auto url = value_or_file("REDIS_URL", env)) return parse_redis_addresses(*url);
  const auto host = value_or_file("REDIS_HOST", env);
  if (!host) return std::nullopt;
  RedisAddress address;
  address.host = *host;
  if (const auto port = value_or_file("REDIS_PORT", env)) address.port = port_of(*port);
  return std::vector<RedisAddress>{address};
}

}  // namespace

std::string RedisAddress::display() const {
  const bool v6 = host.find(':') != std::string::npos;
  if (host.empty()) return "unix://" + base::printable(unix_path) + (db == 0 ? "" : "?db=" + std::to_string(db));
  return (tls ? "rediss://" : "redis://") + (v6 ? "[" + base::printable(host) + "]" : base::printable(host)) + ":" +
         std::to_string(port) + (db == 0 ? "" : "/" + std::to_string(db));
}

std::vector<RedisAddress> parse_redis_addresses(std::string_view text) {
  const bool secret = text.find('@') != std::string_view::npos;
  std::vector<RedisAddress> out;
  for (;;) {
    const auto comma = text.find(',');
    // A comma inside a password cuts it in two, and its first half may pass for a host.
    const auto rest = comma == std::string_view::npos ? std::string_view("://") : text.substr(comma + 1);
    const auto next = rest.substr(0, rest.find(','));
    if (secret && next.find("://") == std::string_view::npos) {
      refuse(shown_of(text, secret), "a comma in a user or password must be written %2C");
    }
    out.push_back(parse_one(text.substr(0, comma), secret));
    if (comma == std::string_view::npos) return out;
    text.remove_prefix(comma + 1);
  }
}

std::string to_json(const std::vector<RedisAddress>& addresses) {
  base::Json list = base::Json::array();
  for (const auto& a : addresses) {
    list.push_back({{"host", a.host},
                    {"port", a.port},
                    {"unix", a.unix_path},
                    {"user", a.user},
                    {"password", a.password},
                    {"db", a.db},
                    {"file", a.file}});
    if (!a.tls) continue;
    list.back()["tls"] = {{"ca", a.tls->ca_file}, {"cert", a.tls->cert_file}, {"key", a.tls->key_file}};
  }
  return list.dump();
}

std::vector<RedisAddress> addresses_from_json(const std::string& json) {
  std::vector<RedisAddress> out;
  for (const auto& a : base::parse_json(json)) {
    out.push_back({a.at("host"), a.at("port"), a.at("unix"), a.at("user"), a.at("password"), a.at("db")});
    out.back().file = a.at("file");
    if (!a.contains("tls")) continue;
    const auto& tls = a.at("tls");
    out.back().tls = RedisTls{tls.at("ca"), tls.at("cert"), tls.at("key")};
  }
  return out;
}

std::optional<std::string> process_env(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

std::optional<std::vector<RedisAddress>> find_redis(std::string_view flag, const EnvLookup& env) {
  auto addresses = named_redis(flag, env);
  if (!addresses) return std::nullopt;
  const auto password = value_or_file("REDIS_PASSWORD", env);
  const auto user = value_or_file("REDIS_USERNAME", env);
  for (auto& address : *addresses) {
    if (address.password.empty() && password) {
      address.password = *password;
      if (user && address.user.empty()) address.user = *user;
    }
    if (address.password.empty() && !address.user.empty()) {
      throw Error(ErrorKind::usage, "Redis address " + address.display() + ": a user without a password");
    }
  }
  return addresses;
}

}  // namespace nightreel::queue
