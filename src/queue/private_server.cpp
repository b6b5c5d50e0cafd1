#include "nightreel/queue/private_server.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <optional>
#include <thread>

#include "nightreel/base/error.h"
#include "nightreel/base/pipe.h"
#include "nightreel/base/process.h"
#include "nightreel/base/random.h"
#include "nightreel/queue/redis.h"
#include "queue/hiredis_socket.h"
#include "queue/queue_folder.h"
#include "queue/server_configuration.h"

namespace nightreel::queue {
namespace {

using base::Error;
using base::ErrorKind;
using std::chrono::milliseconds;

constexpr int kPortTries = 5;  // a free port may be taken before the server binds it
constexpr milliseconds kPoll{20};
constexpr milliseconds kStartLimit{120'000};  // it reads its data back first
constexpr milliseconds kStopLimit{10'000};

int free_port() {
  const base::Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (!fd || ::bind(fd.get(), generic, size) != 0 || ::getsockname(fd.get(), generic, &size) != 0) {
    base::throw_errno("cannot find a free port on", "127.0.0.1");
  }
  return ntohs(address.sin_port);
}

RedisOptions options_for(const RedisAddress& address) {
  RedisOptions options;
  options.addresses = {address};
  options.client_name = "nightreel-owner";
  return options;
}

std::string last_line(const std::string& path) {
  try {
    std::string text = base::read_file(path, 64U << 20U);
    while (!text.empty() && text.back() == '\n') text.pop_back();
    return base::printable(text.substr(text.rfind('\n') + 1), 300);
  } catch (const Error&) {
    return "no log";
  }
}

[[noreturn]] void refuse_held(const QueueFolder& folder, const std::string& out) {
  const Holder holder = folder.read_holder();
  if (holder.host.empty()) {
    throw Error(ErrorKind::environment, base::printable(out) +
                                            ": another program holds the queue of this folder (see " +
                                            folder.lock_file() + "); wait for it, or name a Redis with --redis");
  }
  throw Error(ErrorKind::environment,
              fmt::format("{}: held by `nightreel {}` on host {}, pid {}, since {}; wait for it, use another --out, or "
                          "name a Redis with --redis",
                          base::printable(out), base::printable(holder.purpose), base::printable(holder.host),
                          holder.pid, base::printable(holder.since)));
}

// The lock of a call (`status` on a queue at rest) is waited for, a run's is not.
base::Fd take_lock(const QueueFolder& folder, const PrivateServerOptions& options) {
  const auto until = Clock::now() + options.wait;
  for (;;) {
    auto lock = folder.try_lock();
    if (lock) {
      folder.write_holder(*lock, options.purpose);
      return std::move(*lock);
    }
    if (folder.read_holder().purpose == "run" || Clock::now() >= until) refuse_held(folder, options.out);
    std::this_thread::sleep_for(kPoll);
  }
}

std::optional<base::Fd> wait_for_server_lock(const QueueFolder& folder, milliseconds limit) {
  const auto until = Clock::now() + limit;
  for (;;) {
    auto lock = folder.try_server_lock();
    if (lock || Clock::now() >= until) return lock;
    std::this_thread::sleep_for(kPoll);
  }
}

void ask_to_shut_down(const RedisAddress& address) {
  Redis redis(options_for(address));
  redis.set_patience({milliseconds(3000), {}});
  redis.command({"PING"});
  redis.set_patience({kStopLimit, {}, false});  // the answer is that the connection ends
  try {
    redis.command({"SHUTDOWN", "NOSAVE"});
  } catch (const RedisError& e) {
    if (e.fault() != RedisFault::connection) throw;
  }
}

// A server that outlived its owner still appends to the data: it must be gone before the next one reads them.
base::Fd take_server_lock(const QueueFolder& folder, const base::Logger& log) {
  if (auto lock = folder.try_server_lock()) return std::move(*lock);
  log.warn("queue", folder.path() + ": its redis-server outlived the last run; shutting it down");
  std::string why;
  try {
    ask_to_shut_down(as_owner(folder, folder.read_address()));
  } catch (const Error& e) {
    why = std::string(": ") + e.what();
  }
  if (auto lock = wait_for_server_lock(folder, why.empty() ? kStopLimit : milliseconds(200))) return std::move(*lock);
  throw Error(ErrorKind::environment,
              folder.path() +
                  ": a redis-server of an earlier run still holds these data and cannot be shut down from " +
                  this_host() + "; end it where it runs" + why);
}

}  // namespace

struct PrivateServer::State {
  PrivateServerOptions options;
  QueueFolder folder;
  base::Fd lock;
  base::Child child;
  RedisAddress address;
  std::string owner_password;
  bool stopped = false;

  explicit State(const PrivateServerOptions& given) : options(given), folder(given.out) {}

  void start() {
    folder.create();
    lock = take_lock(folder, options);
    const base::Fd server_lock = take_server_lock(folder, options.log);
    base::remove_file(folder.address_file());  // of a run that was killed
    address.password = base::random_hex(32);
    owner_password = base::random_hex(32);
    base::replace_file(folder.owner_file(), owner_password + "\n", 0600);
    for (int tries = 1;; ++tries) {
      address.host = "127.0.0.1";
      address.port = free_port();
      if (launch(server_lock)) break;
      if (tries == kPortTries) {
        throw Error(ErrorKind::environment,
                    options.program + " does not start: " + last_line(folder.log()) + " (" + folder.log() + ")");
      }
    }
    if (!options.interface.empty()) address.host = options.interface;
    folder.write_address(address, child.pid());
  }

  // False where it ended at once: its port was taken, or its log says why.
  bool launch(const base::Fd& server_lock) {
    base::ChildOptions plan;
    plan.argv = {options.program, "-"};  // the configuration comes by stdin: the password is in no argv and no file
    plan.stderr_path = folder.log();
    plan.environment.take = base::EnvironmentRule::Take::listed;
    plan.inherit_fd = server_lock.get();
    try {
      child = base::Child(plan);
    } catch (const Error& e) {
      throw Error(ErrorKind::environment,
                  std::string(e.what()) + "; install redis-server 6.2 or newer, or name a Redis with --redis");
    }
    try {
      base::write_line(child.stdin_fd(), server_configuration(folder, address, owner_password, options.interface));
    } catch (const Error&) {  // it ended before it read: wait() tells
    }
    child.close_stdin();
    return wait_until_ready();
  }

  bool wait_until_ready() {
    const auto until = Clock::now() + kStartLimit;
    Redis redis(options_for(address));
    redis.set_patience({milliseconds(2000), {}, false});
    while (Clock::now() < until) {
      if (child.wait(milliseconds(0))) return false;
      try {
        redis.command({"PING"});
        return true;
      } catch (const RedisError& e) {
        // Not up yet, still loading, or, for a moment, another program's server on a port that was ours to take.
        if (!retryable(e.fault()) && e.fault() != RedisFault::auth) throw;
      }
      std::this_thread::sleep_for(kPoll);
    }
    throw Error(ErrorKind::environment, options.program + " is not ready in time: " + last_line(folder.log()));
  }

  void stop() {
    if (stopped || !child) return;
    stopped = true;
    RedisAddress local = address;
    local.host = "127.0.0.1";
    local.user = kOwner;
    local.password = owner_password;
    try {
      ask_to_shut_down(local);
    } catch (const Error& e) {
      options.log.warn("queue", folder.path() + ": the redis-server takes no shutdown: " + e.what());
      child.kill(SIGKILL);  // every acknowledged write is on disk
    }
    if (!child.wait(kStopLimit)) child.kill(SIGKILL);
    child.wait(kStopLimit);
    base::remove_file(folder.address_file());
    base::remove_file(folder.owner_file());
    lock.reset();
  }
};

PrivateServer::PrivateServer(const PrivateServerOptions& options) : state_(std::make_unique<State>(options)) {
  state_->start();
}
PrivateServer::PrivateServer(PrivateServer&&) noexcept = default;
PrivateServer& PrivateServer::operator=(PrivateServer&&) noexcept = default;

PrivateServer::~PrivateServer() {
  if (state_ == nullptr) return;
  try {
    state_->stop();
  } catch (const std::exception& e) {
    state_->options.log.warn("queue", std::string("the private redis-server: ") + e.what());
  }
}

const RedisAddress& PrivateServer::address() const {
  return state_->address;
}
void PrivateServer::stop() {
  state_->stop();
}

PrivateQueue PrivateQueue::open(const std::string& out, const std::string& purpose, bool create,
                                const base::Logger& log) {
  const QueueFolder folder(out);
  if (!create && !folder.exists()) {
    throw Error(ErrorKind::environment, base::printable(out) +
                                            ": no run has made a queue here yet; name the OUT of one, "
                                            "or a Redis with --redis");
  }
  folder.create();
  PrivateServerOptions options;
  options.out = out;
  options.purpose = purpose;
  options.log = log;
  PrivateQueue queue;
  const auto until = Clock::now() + options.wait;
  while (!folder.try_lock() && folder.read_holder().purpose == "run") {
    if (::access(folder.address_file().c_str(), F_OK) == 0) {
      queue.address_ = folder.read_address();
      return queue;
    }
    if (Clock::now() >= until) refuse_held(folder, out);  // it starts, or stops, just now
    std::this_thread::sleep_for(kPoll);
  }
  queue.own_ = std::make_unique<PrivateServer>(options);
  queue.address_ = queue.own_->address();
  return queue;
}

}  // namespace nightreel::queue
