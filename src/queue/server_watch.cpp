#include "queue/server_watch.h"

#include <nightreel/queue/lua_scripts.h>

#include <set>

#include "nightreel/base/error.h"
#include "nightreel/base/random.h"

namespace nightreel::queue {
namespace {

using base::Error;
using base::ErrorKind;
using std::chrono::milliseconds;

constexpr milliseconds kLook{100};
constexpr std::chrono::seconds kMinute{60};
constexpr std::size_t kMostDeaths = 3;      // in a minute
constexpr std::size_t kRoom = 1U << 20U;    // bytes that its disk must take before it is started again
constexpr milliseconds kLockLimit{10'000};  // until the dead server's lock is free
constexpr const char* kGoOn = "; then run the same command again, it goes on where it stopped";

std::string disk_problem(const QueueFolder& folder) {
  const std::string path = folder.data() + "/room-" + base::random_hex(4);
  try {
    base::replace_file(path, std::string(kRoom, 'x'), 0600);
    base::remove_file(path);
    return "";
  } catch (const Error& e) {
    return e.what();
  }
}

// Of all queues on the server.
std::set<std::string> queue_prefixes(Redis& redis) {
  std::set<std::string> out;
  std::string cursor = "0";
  do {
    const Reply page = redis.command({"SCAN", cursor, "MATCH", "nightreel:{*}:run", "COUNT", "1000"});
    cursor = page.at(0).text();
    for (const auto& key : page.at(1).array()) out.insert(key.text().substr(0, key.text().size() - 3));
  } while (cursor != "0");
  return out;
}

// Until the leases have their term nobody knows the password that ranks come in with.
void open_gate(const RedisAddress& owners, const std::string& password, milliseconds lease) {
  Redis redis(owners_options(owners));
  Script renew_all("renew_all", lua::k_renew_all);
  for (const std::string& prefix : queue_prefixes(redis)) {
    redis.eval(renew_all, prefix, {std::to_string(lease.count())});
  }
  redis.command({"ACL", "SETUSER", "default", "resetpass", ">" + password});
}

}  // namespace

ServerWatch::ServerWatch(const PrivateServerOptions& options, const QueueFolder& folder, base::Fd lock)
    : options_(options), folder_(folder), server_(options_, folder_) {
  address_.host = options_.interface.empty() ? "127.0.0.1" : options_.interface;
  address_.port = 0;
  address_.password = base::random_hex(32);
  address_.file = folder_.address_file();
  thread_ = std::thread([this, held = std::move(lock)]() mutable { run(std::move(held)); });
  std::unique_lock guard(mutex_);
  changed_.wait(guard, [this] { return started_ || problem_; });
  if (!problem_) return;
  guard.unlock();
  thread_.join();
  std::rethrow_exception(problem_);
}

ServerWatch::~ServerWatch() {
  {
    const std::lock_guard guard(mutex_);
    over_ = true;
    changed_.notify_all();
  }
  thread_.join();
}

RedisAddress ServerWatch::address() const {
  const std::lock_guard guard(mutex_);
  return address_;
}

void ServerWatch::run(base::Fd lock) {
  try {
    begin(std::move(lock));
  } catch (...) {
    const std::lock_guard guard(mutex_);
    problem_ = std::current_exception();
    changed_.notify_all();
    return;
  }
  try {
    while (!wait_for_the_end()) {
      const auto death = server_.ended();
      if (death && !come_to(*death)) return;
    }
    server_.shut_down(address());
  } catch (const std::exception& e) {
    options_.log.error("queue", folder_.path() + ": its redis-server is looked after no more: " + e.what());
  }
}

void ServerWatch::begin(base::Fd lock) {
  RedisAddress address = this->address();
  server_.start(address, address.password, lock);
  folder_.write_address(address, server_.pid());
  const std::lock_guard guard(mutex_);
  address_ = address;
  started_ = true;
  changed_.notify_all();
}

bool ServerWatch::wait_for_the_end() {
  std::unique_lock guard(mutex_);
  return changed_.wait_for(guard, kLook, [this] { return over_; });
}

/// False where there is no going on.
bool ServerWatch::come_to(const std::string& death) {
  options_.log.warn("queue", folder_.path() + ": the redis-server ended (" + death +
                                 "); its log ends: " + last_line_of(folder_.log()));
  std::string why = hopeless(death);
  if (why.empty()) {
    try {
      bring_back();
      return true;
    } catch (const std::exception& e) {
      why = folder_.path() + ": its redis-server ended (" + death + ") and cannot be started again: " + e.what();
    }
  }
  give_up(why);
  return false;
}

std::string ServerWatch::hopeless(const std::string& death) {
  const auto now = Clock::now();
  deaths_.push_back(now);
  while (now - deaths_.front() > kMinute) deaths_.pop_front();
  if (const std::string disk = disk_problem(folder_); !disk.empty()) {
    return folder_.path() + ": its redis-server ended (" + death + "), and its disk takes nothing: " + disk +
           "; make room there" + kGoOn;
  }
  if (deaths_.size() < kMostDeaths) return "";
  return folder_.path() + ": its redis-server died " + std::to_string(kMostDeaths) +
         " times within a minute, the last time by " + death + "; its log ends: " + last_line_of(folder_.log()) +
         "; end what kills it" + kGoOn;
}

void ServerWatch::bring_back() {
  const auto lock = folder_.wait_for_server_lock(kLockLimit);
  if (!lock) throw Error(ErrorKind::environment, "another redis-server holds its data");
  RedisAddress address = this->address();
  const int port = address.port;
  server_.start(address, base::random_hex(32), *lock);
  open_gate(server_.owners(address), address.password, options_.lease);
  folder_.write_address(address, server_.pid());
  options_.log.info("queue", folder_.path() + ": the redis-server is back on its data" +
                                 (address.port == port ? "" : ", on another port"));
  const std::lock_guard guard(mutex_);
  address_ = address;
}

void ServerWatch::give_up(const std::string& why) {
  options_.log.error("queue", why);
  try {
    folder_.write_end(why);
  } catch (const Error&) {  // a full disk: that there is no address is told as the end, too
    base::remove_file(folder_.address_file());
  }
}

}  // namespace nightreel::queue
