#include "queue/server_process.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <csignal>
#include <thread>

#include "nightreel/base/error.h"
#include "nightreel/base/pipe.h"
#include "nightreel/base/random.h"
#include "queue/hiredis_socket.h"
#include "queue/server_configuration.h"

namespace nightreel::queue {
namespace {

using base::Error;
using base::ErrorKind;
using std::chrono::milliseconds;

constexpr int kPortTries = 5;  // a free port may be taken before the server binds it
constexpr milliseconds kAskAgain{20};
constexpr milliseconds kStartLimit{120'000};  // it reads its data back first
constexpr milliseconds kEndLimit{10'000};

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

}  // namespace

RedisOptions owners_options(const RedisAddress& address) {
  RedisOptions options;
  options.addresses = {address};
  options.addresses[0].file.clear();
  options.client_name = "nightreel-owner";
  return options;
}

void ask_to_shut_down(const RedisAddress& address) {
  Redis redis(owners_options(address));
  redis.set_patience({milliseconds(3000), {}});
  redis.command({"PING"});
  redis.set_patience({kEndLimit, {}, false});  // the answer is that the connection ends
  try {
    redis.command({"SHUTDOWN", "NOSAVE"});
  } catch (const RedisError& e) {
    if (e.fault() != RedisFault::connection) throw;
  }
}

std::string last_line_of(const std::string& log) {
  try {
    std::string text = base::read_file(log, 64U << 20U);
    while (!text.empty() && text.back() == '\n') text.pop_back();
    return base::printable(text.substr(text.rfind('\n') + 1), 300);
  } catch (const Error&) {
    return "no log";
  }
}

void ServerProcess::start(RedisAddress& address, const std::string& password, const base::Fd& lock) {
  RedisAddress local = address;
  local.host = "127.0.0.1";
  local.password = password;
  owner_password_ = base::random_hex(32);
  base::replace_file(folder_.owner_file(), owner_password_ + "\n", 0600);
  for (int tries = 1;; ++tries) {
    if (tries > 1 || local.port == 0) local.port = free_port();
    if (launch(local, lock)) break;
    if (tries < kPortTries) continue;
    throw Error(ErrorKind::environment,
                options_.program + " does not start: " + last_line_of(folder_.log()) + " (" + folder_.log() + ")");
  }
  address.port = local.port;
}

// False where it ended at once: its port was taken, or its log says why.
bool ServerProcess::launch(const RedisAddress& address, const base::Fd& lock) {
  base::ChildOptions plan;
  plan.argv = {options_.program, "-"};  // the configuration comes by stdin: the password is in no argv and no file
  plan.stderr_path = folder_.log();
  plan.environment.take = base::EnvironmentRule::Take::listed;
  plan.inherit_fd = lock.get();
  try {
    child_ = base::Child(plan);
  } catch (const Error& e) {
    throw Error(ErrorKind::environment,
                std::string(e.what()) + "; install redis-server 6.2 or newer, or name a Redis with --redis");
  }
  try {
    base::write_line(child_.stdin_fd(), server_configuration(folder_, address, owner_password_, options_.interface));
  } catch (const Error&) {  // it ended before it read: wait() tells
  }
  child_.close_stdin();
  return wait_until_ready(address);
}

bool ServerProcess::wait_until_ready(const RedisAddress& address) {
  const auto until = Clock::now() + kStartLimit;
  Redis redis(owners_options(address));
  redis.set_patience({milliseconds(2000), {}, false});
  while (Clock::now() < until) {
    if (ended()) return false;
    try {
      redis.command({"PING"});
      return true;
    } catch (const RedisError& e) {
      // Not up yet, still loading, or, for a moment, another program's server on a port that was ours to take.
      if (!retryable(e.fault()) && e.fault() != RedisFault::auth) throw;
    }
    std::this_thread::sleep_for(kAskAgain);
  }
  throw Error(ErrorKind::environment, options_.program + " is not ready in time: " + last_line_of(folder_.log()));
}

RedisAddress ServerProcess::owners(RedisAddress address) const {
  address.host = "127.0.0.1";
  address.user = kOwner;
  address.password = owner_password_;
  return address;
}

void ServerProcess::shut_down(const RedisAddress& address) {
  if (!child_ || ended()) return;
  try {
    ask_to_shut_down(owners(address));
  } catch (const Error& e) {
    options_.log.warn("queue", folder_.path() + ": the redis-server takes no shutdown: " + e.what());
    child_.kill(SIGKILL);  // every acknowledged write is on disk
  }
  if (!child_.wait(kEndLimit)) child_.kill(SIGKILL);
  child_.wait(kEndLimit);
}

}  // namespace nightreel::queue
