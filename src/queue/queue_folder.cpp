#include "queue/queue_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstring>
#include <thread>

#include "nightreel/base/clock.h"
#include "nightreel/base/error.h"
#include "nightreel/base/json.h"

namespace nightreel::queue {
namespace {

using base::Error;
using base::ErrorKind;

constexpr std::size_t kMaxRecord = 16U << 10U;

// Private: a password lies in it. A folder that somebody else made could hand us his address.
void make_private_folder(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) base::throw_errno("cannot make the folder", path);
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) base::throw_errno("cannot stat", path);
  if (!S_ISDIR(info.st_mode) || info.st_uid != ::geteuid()) {
    throw Error(ErrorKind::environment, path + ": must be a folder of this user; use another --out or name a Redis");
  }
  if ((info.st_mode & 0077) != 0 && ::chmod(path.c_str(), 0700) != 0) base::throw_errno("cannot chmod", path);
}

[[noreturn]] void refuse_address(const std::string& path, const std::string& why) {
  throw Error(ErrorKind::environment, path + ": " + why +
                                          ": not an address that nightreel wrote; end the redis-server of this folder, "
                                          "if one runs, and remove the file");
}

constexpr std::size_t kMaxReason = 2000;

[[noreturn]] void throw_end(const std::string& why) {
  throw Error(ErrorKind::environment, base::printable(why, kMaxReason));
}

RedisAddress address_from(const base::Json& json) {
  RedisAddress address;
  address.host = json.at("host").get<std::string>();
  address.port = json.at("port").get<int>();
  address.password = json.at("password").get<std::string>();
  return address;
}

bool only(const std::string& text, const char* allowed) {
  return text.find_first_not_of(allowed) == std::string::npos;
}

}  // namespace

std::string this_host() {
  std::array<char, HOST_NAME_MAX + 1> name{};
  ::gethostname(name.data(), name.size() - 1);
  return name.data();
}

void QueueFolder::create() const {
  base::make_folders(base::parent_folder(path_));
  make_private_folder(path_);
  make_private_folder(data());
}

bool QueueFolder::exists() const {
  struct stat info {};
  return ::stat(data().c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

std::optional<base::Fd> QueueFolder::lock(const std::string& path) const {
  base::Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) base::throw_errno("cannot open", path);
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return fd;
  if (errno == EWOULDBLOCK) return std::nullopt;
  throw Error(ErrorKind::environment, path + ": " + std::strerror(errno) +
                                          ": the file system has no file locks, so OUT cannot hold a private queue; "
                                          "name a Redis with --redis");
}

void QueueFolder::write_holder(const base::Fd& lock, const std::string& purpose) const {
  const base::Json json{
      {"host", this_host()}, {"pid", ::getpid()}, {"since", base::iso_time(base::now_ms())}, {"purpose", purpose}};
  const std::string text = json.dump() + "\n";
  if (::ftruncate(lock.get(), 0) != 0 ||
      ::pwrite(lock.get(), text.data(), text.size(), 0) != static_cast<ssize_t>(text.size())) {
    base::throw_errno("cannot write", lock_file());
  }
}

Holder QueueFolder::read_holder() const {
  try {
    const base::Json json = base::parse_json(base::read_file(lock_file(), kMaxRecord));
    return {json.at("host").get<std::string>(), json.at("pid").get<std::int64_t>(), json.at("since").get<std::string>(),
            json.at("purpose").get<std::string>()};
  } catch (const Error&) {
    return {};
  } catch (const base::Json::exception&) {
    return {};
  }
}

void QueueFolder::write_address(const RedisAddress& address, std::int64_t server_pid) const {
  const base::Json json{{"format", "nightreel-queue"},  {"host", address.host},       {"port", address.port},
                        {"password", address.password}, {"server_host", this_host()}, {"server_pid", server_pid}};
  base::replace_file(address_file(), json.dump() + "\n", 0600);
}

void QueueFolder::write_end(const std::string& why) const {
  base::replace_file(address_file(), base::Json{{"format", "nightreel-queue"}, {"ended", why}}.dump() + "\n", 0600);
}

std::optional<base::Fd> QueueFolder::wait_for_server_lock(std::chrono::milliseconds limit) const {
  const auto until = std::chrono::steady_clock::now() + limit;
  for (;;) {
    auto lock = try_server_lock();
    if (lock || std::chrono::steady_clock::now() >= until) return lock;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

RedisAddress read_address_file(const std::string& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) {
    if (errno != ENOENT) base::throw_errno("cannot stat", path);
    throw Error(ErrorKind::environment,
                path + ": is gone, and so is the private redis-server of this folder; the run's rank 0 says why");
  }
  if (!S_ISREG(info.st_mode) || info.st_uid != ::geteuid()) refuse_address(path, "not a file of this user");
  RedisAddress address;
  try {
    const base::Json json = base::parse_json(base::read_file(path, kMaxRecord));
    if (json.at("format") != "nightreel-queue") refuse_address(path, "no \"format\": \"nightreel-queue\"");
    if (json.contains("ended")) throw_end(json.at("ended").get<std::string>());
    address = address_from(json);
  } catch (const base::Json::exception&) {
    refuse_address(path, "a field is missing or has the wrong type");
  } catch (const Error& e) {
    if (e.kind() == ErrorKind::environment) throw;
    refuse_address(path, e.what());
  }
  const bool numeric_host = !address.host.empty() && only(address.host, "0123456789abcdefABCDEF.:");
  if (!numeric_host || address.port < 1 || address.port > 65535) refuse_address(path, "no numeric host and port");
  if (address.password.empty() || !only(address.password, "0123456789abcdef")) refuse_address(path, "no password");
  address.file = path;
  return address;
}

}  // namespace nightreel::queue
