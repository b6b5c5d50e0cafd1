#include "nightreel/queue/private_server.h"

#include <fmt/format.h>
#include <unistd.h>

#include <optional>
#include <thread>

#include "nightreel/base/error.h"
#include "queue/hiredis_socket.h"
#include "queue/queue_folder.h"
#include "queue/server_configuration.h"
#include "queue/server_process.h"
#include "queue/server_watch.h"

namespace nightreel::queue {
namespace {

using base::Error;
using base::ErrorKind;
using std::chrono::milliseconds;

constexpr milliseconds kPoll{20};
constexpr milliseconds kStopLimit{10'000};
constexpr milliseconds kDying{1000};  // one whose owner was killed a moment ago

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
  if (auto lock = folder.wait_for_server_lock(why.empty() ? kStopLimit : kDying)) return std::move(*lock);
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
  std::optional<ServerWatch> server;

  explicit State(const PrivateServerOptions& given) : options(given), folder(given.out) {}

  void start() {
    folder.create();
    lock = take_lock(folder, options);
    base::Fd server_lock = take_server_lock(folder, options.log);
    base::remove_file(folder.address_file());  // of a run that was killed
    server.emplace(options, folder, std::move(server_lock));
  }

  void stop() {
    if (!server) return;
    server.reset();
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

RedisAddress PrivateServer::address() const {
  return state_->server.value().address();
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
