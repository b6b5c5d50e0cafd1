#include "nightreel/queue/redis.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <random>

#include "nightreel/base/error.h"
#include "queue/hiredis_socket.h"
#include "queue/queue_folder.h"
#include "queue/server_check.h"

namespace nightreel::queue {
namespace {

constexpr std::chrono::milliseconds kFirstPause{50};
constexpr std::chrono::milliseconds kLongestPause{2000};

base::ErrorKind kind_of(RedisFault fault) {
  const bool hopeless = fault == RedisFault::auth || fault == RedisFault::redirect || fault == RedisFault::unsuitable;
  return hopeless ? base::ErrorKind::environment : base::ErrorKind::queue;
}

// The fix, for the errors that a person has to mend.
std::string_view advice(RedisFault fault) {
  switch (fault) {
    case RedisFault::auth:
      return ": check the user and password (REDIS_USERNAME, REDIS_PASSWORD or the address) and the user's ACL rights";
    case RedisFault::redirect:
      return ": this server is part of a Redis Cluster, which is not supported; name a single Redis";
    case RedisFault::full:
      return ": the server takes no more writes; raise its maxmemory or free its disk";
    case RedisFault::read_only:
      return ": this server is a replica; name the master, or all servers separated by commas";
    default:
      return "";
  }
}

}  // namespace

RedisError::RedisError(RedisFault fault, const std::string& message) : Error(kind_of(fault), message), fault_(fault) {}

bool retryable(RedisFault fault) {
  return fault == RedisFault::connection || fault == RedisFault::loading || fault == RedisFault::full ||
         fault == RedisFault::read_only;
}

RedisFault classify_error_reply(std::string_view reply) {
  struct Prefix {
    std::string_view word;
    RedisFault fault;
  };
  static constexpr std::array<Prefix, 16> kPrefixes{{
      {"LOADING", RedisFault::loading},
      {"BUSY", RedisFault::loading},
      {"MASTERDOWN", RedisFault::loading},
      {"TRYAGAIN", RedisFault::loading},
      {"CLUSTERDOWN", RedisFault::loading},
      {"OOM", RedisFault::full},
      {"MISCONF", RedisFault::full},
      {"NOREPLICAS", RedisFault::full},
      {"READONLY", RedisFault::read_only},
      {"NOAUTH", RedisFault::auth},
      {"WRONGPASS", RedisFault::auth},
      {"NOPERM", RedisFault::auth},
      {"MOVED", RedisFault::redirect},
      {"ASK", RedisFault::redirect},
      {"CROSSSLOT", RedisFault::redirect},
      {"NOSCRIPT", RedisFault::no_script},
  }};
  const std::string_view word = reply.substr(0, reply.find(' '));
  for (const auto& prefix : kPrefixes) {
    if (word == prefix.word) return prefix.fault;
  }
  // Redis 6 wraps what a script's call met: "ERR Error running script …: @user_script:1: -READONLY You can't write".
  // Passing troubles without a word of their own.
  for (const std::string_view passing : {"max number of clients reached", "Script killed by user"}) {
    if (reply.find(passing) != std::string_view::npos) return RedisFault::loading;
  }
  for (const std::string_view inner : {"-READONLY ", "-OOM ", "-MISCONF "}) {
    if (reply.find(inner) != std::string_view::npos) return classify_error_reply(inner.substr(1));
  }
  return RedisFault::refused;
}

std::int64_t Reply::integer() const {
  if (type_ == Type::integer) return integer_;
  const std::string& digits = text();
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size()) {
    throw RedisError(RedisFault::protocol, "Redis gave '" + base::printable(digits, 40) + "' where a number belongs");
  }
  return value;
}

const std::string& Reply::text() const {
  if (type_ != Type::text) throw RedisError(RedisFault::protocol, "Redis gave something else where text belongs");
  return text_;
}

std::string Reply::text_or_empty() const {
  return is_nil() ? std::string() : text();
}

const std::vector<Reply>& Reply::array() const {
  if (type_ != Type::array) throw RedisError(RedisFault::protocol, "Redis gave something else where a list belongs");
  return items_;
}

const Reply& Reply::at(std::size_t index) const {
  if (index >= array().size()) throw RedisError(RedisFault::protocol, "Redis gave a list that is too short");
  return items_[index];
}

struct Redis::State {
  RedisOptions options;
  Patience patience;
  std::optional<HiredisSocket> socket;
  std::size_t current = 0;  // index of the address in use, or to be tried next
  bool warned = false;      // what the server check warns of is said once
  bool look_again = false;  // where a private server is
  std::minstd_rand jitter{std::random_device{}()};

  const RedisAddress& address() const { return options.addresses[current]; }
  void next_address() { current = (current + 1) % options.addresses.size(); }
  std::string at() const { return "Redis at " + address().display(); }

  bool is_private() const { return !address().file.empty(); }

  // A private server that died is started again, perhaps elsewhere.
  void find_private_server() {
    try {
      options.addresses[current] = read_address_file(address().file);
      look_again = false;
    } catch (const base::Error& e) {
      if (e.kind() == base::ErrorKind::environment) throw;
      throw RedisError(RedisFault::connection, e.what());
    }
  }

  void connect(Clock::time_point until) {
    if (socket) return;
    if (look_again && is_private()) find_private_server();
    try {
      socket.emplace(address(), std::min(options.connect_timeout, time_left(until)), patience.stop);
      greet(until);
    } catch (const RedisError& e) {
      socket.reset();
      look_again = true;
      // What a program on its old port, or a server that lets nobody in yet, says of the password is no verdict.
      if (e.fault() != RedisFault::auth || !is_private()) throw;
      throw RedisError(RedisFault::connection, std::string("not the server of this run, or not ready: ") + e.what());
    } catch (const base::Error&) {
      socket.reset();
      throw;
    }
  }

  void greet(Clock::time_point until) {
    const Clock::time_point reply_by = std::min(until, Clock::now() + options.command_timeout);
    const auto ask = [&](const std::vector<std::string>& args) {
      return socket->exchange(args, reply_by, patience.stop);
    };
    log_in(address(), options.client_name, ask);
    if (!options.check_server) return;
    for (const auto& warning : check_server(ask)) {
      if (!warned) options.log.warn("redis", at() + ": " + warning);
    }
    warned = true;
  }

  Reply try_once(const std::vector<std::string>& args, Clock::time_point until) {
    connect(until);
    return socket->exchange(args, std::min(until, Clock::now() + options.command_timeout), patience.stop);
  }

  std::chrono::milliseconds jittered(std::chrono::milliseconds pause) {
    return std::chrono::milliseconds(
        std::uniform_int_distribution<std::int64_t>(pause.count() / 2, pause.count())(jitter));
  }

  // What a failed attempt means for the connection. An error reply leaves it in order.
  void after_failure(RedisFault fault) {
    const bool was_connected = socket.has_value();
    if (fault == RedisFault::connection || fault == RedisFault::read_only || fault == RedisFault::auth) socket.reset();
    // A connection that was lost is tried again where it was; one that could not be made, elsewhere.
    if (!was_connected || fault == RedisFault::read_only) next_address();
  }

  Reply command(const std::vector<std::string>& args) {
    const Clock::time_point until = Clock::now() + patience.total;
    auto pause = kFirstPause;
    for (std::size_t failed = 1;; ++failed) {
      const std::string where = at();
      try {
        Reply reply = try_once(args, until);
        if (failed > 1) options.log.info("redis", where + ": connected again");
        return reply;
      } catch (const RedisError& e) {
        after_failure(e.fault());
        const std::string message = where + ": " + e.what() + std::string(advice(e.fault()));
        // The first of two quick attempts, and each address once, cost no pause.
        const bool at_once = failed <= options.addresses.size();
        if (!patience.retry || !retryable(e.fault()) || Clock::now() + (at_once ? kFirstPause : pause) >= until) {
          throw RedisError(e.fault(), message);
        }
        if (failed == 1) options.log.warn("redis", message + "; trying again");
        wait_until(Clock::now() + (at_once ? std::chrono::milliseconds(1) : jittered(pause)), patience.stop);
        if (!at_once) pause = std::min(2 * pause, kLongestPause);
      } catch (const base::Error&) {  // interrupted: the answer to this command may still come, so not on this socket
        socket.reset();
        throw;
      }
    }
  }
};

Redis::Redis(RedisOptions options) : state_(std::make_unique<State>()) {
  if (options.addresses.empty()) throw base::Error(base::ErrorKind::internal, "a Redis without an address");
  state_->options = std::move(options);
}
Redis::Redis(Redis&&) noexcept = default;
Redis& Redis::operator=(Redis&&) noexcept = default;
Redis::~Redis() = default;

void Redis::set_patience(const Patience& patience) {
  state_->patience = patience;
}
void Redis::disconnect() {
  state_->socket.reset();
}
std::string Redis::where() const {
  return state_->address().display();
}
Reply Redis::command(const std::vector<std::string>& args) {
  return state_->command(args);
}

Reply Redis::eval(Script& script, const std::string& key, const std::vector<std::string>& args) {
  if (script.sha_.empty()) script.sha_ = command({"SCRIPT", "LOAD", script.source()}).text();
  std::vector<std::string> words{"EVALSHA", script.sha_, "1", key};
  words.insert(words.end(), args.begin(), args.end());
  try {
    return command(words);
  } catch (const RedisError& e) {
    if (e.fault() != RedisFault::no_script) throw;
  }
  words[0] = "EVAL";
  words[1] = script.source();
  return command(words);
}

}  // namespace nightreel::queue
