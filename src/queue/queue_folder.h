// The files of OUT/queue/: locks, the holder's record, the server's address. Private to the queue layer.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "nightreel/base/file.h"
#include "nightreel/queue/redis_address.h"

namespace nightreel::queue {

struct Holder {
  std::string host;
  std::int64_t pid = 0;
  std::string since;    // ISO time
  std::string purpose;  // "run", "status", …
};

/// The address that stands in this file, which it names. Throws Error{environment} for anything but one that this
/// program could have written, where it says that the server has ended, and where the file is gone, as its server then
/// is.
RedisAddress read_address_file(const std::string& path);

class QueueFolder {
 public:
  explicit QueueFolder(const std::string& out) : path_(out + "/queue") {}
  /// Makes OUT/queue and OUT/queue/data with mode 0700. Refuses a folder that belongs to another user.
  void create() const;
  bool exists() const;

  const std::string& path() const { return path_; }
  std::string data() const { return path_ + "/data"; }
  std::string log() const { return path_ + "/redis.log"; }
  std::string address_file() const { return path_ + "/address"; }
  std::string owner_file() const { return path_ + "/owner"; }
  std::string lock_file() const { return path_ + "/lock"; }

  /// The lock of the program that owns the server; nothing where another process has it.
  std::optional<base::Fd> try_lock() const { return lock(lock_file()); }
  /// The lock of the server process.
  std::optional<base::Fd> try_server_lock() const { return lock(path_ + "/server.lock"); }
  /// The same, until it is free.
  std::optional<base::Fd> wait_for_server_lock(std::chrono::milliseconds limit) const;

  /// Written into the lock file by its owner. Empty fields where the record is unreadable: it is for people only.
  void write_holder(const base::Fd& lock, const std::string& purpose) const;
  Holder read_holder() const;

  void write_address(const RedisAddress& address, std::int64_t server_pid) const;
  /// In the address's place: the server has ended for good, and why.
  void write_end(const std::string& why) const;
  RedisAddress read_address() const { return read_address_file(address_file()); }

 private:
  std::optional<base::Fd> lock(const std::string& path) const;
  std::string path_;
};

std::string this_host();

}  // namespace nightreel::queue
