// The thread that owns OUT's redis-server: starts it, notices its death, brings it back on its data. Private to the
// queue layer.
//
// The constructor returns when the server is ready and throws what ServerProcess throws. Any thread may ask for the
// address. A server that died is back within a second or two, on the same port and with the same password; where the
// port is taken OUT/queue/address says the new one. Before it serves a claim, every lease gets a full term: it was the
// server that was away, and not its holders. After three deaths within a minute, on a disk that takes nothing, or where
// it does not start, OUT/queue/address says why it has ended, which whoever connects then throws (Error{environment}).
#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>

#include "nightreel/queue/private_server.h"
#include "queue/hiredis_socket.h"
#include "queue/queue_folder.h"
#include "queue/server_process.h"

namespace nightreel::queue {

class ServerWatch {
 public:
  /// Both must outlive it. `lock`: the server's.
  ServerWatch(const PrivateServerOptions& options, const QueueFolder& folder, base::Fd lock);
  ServerWatch(const ServerWatch&) = delete;
  ServerWatch& operator=(const ServerWatch&) = delete;
  /// Shuts the server down, in order.
  ~ServerWatch();

  RedisAddress address() const;

 private:
  void run(base::Fd lock);
  void begin(base::Fd lock);
  bool come_to(const std::string& death);
  std::string hopeless(const std::string& death);
  void bring_back();
  void give_up(const std::string& why);
  bool wait_for_the_end();

  const PrivateServerOptions& options_;
  const QueueFolder& folder_;
  ServerProcess server_;
  std::deque<Clock::time_point> deaths_;  // of the last minute
  mutable std::mutex mutex_;              // what follows
  std::condition_variable changed_;
  RedisAddress address_;
  bool started_ = false;
  bool over_ = false;
  std::exception_ptr problem_;  // of the first start
  std::thread thread_;          // last: it uses all the above
};

}  // namespace nightreel::queue
