// Stands between a client and a server on unix sockets and loses replies: the server has done what was asked, the
// client does not hear of it. Test code of the queue layer.
#pragma once

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <string>
#include <string_view>
#include <thread>

#include "nightreel/base/file.h"
#include "nightreel/base/pipe.h"
#include "support/temp_folder.h"

namespace nightreel::test {

class LossyProxy {
 public:
  explicit LossyProxy(const std::string& server) : server_(server), listener_(socket_at(path(), ::bind)) {
    ::listen(listener_.get(), 8);
    thread_ = std::thread([this] { serve(); });
  }
  ~LossyProxy() {
    stop_ = true;
    thread_.join();
  }
  std::string path() const { return folder_.path() + "/p"; }
  /// The reply to the next script is lost, and the connection with it.
  void lose_next() { lose_ = true; }
  int lost() const { return lost_; }

 private:
  template <typename Attach>
  static base::Fd socket_at(const std::string& path, Attach attach) {
    base::Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    std::strncpy(name.sun_path, path.c_str(), sizeof name.sun_path - 1);
    attach(fd.get(), reinterpret_cast<sockaddr*>(&name), sizeof name);
    return fd;
  }
  void serve() {
    const base::SigpipeGuard guard;
    while (!stop_) {
      if (!readable(listener_.get())) continue;
      const base::Fd client(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      const base::Fd server = socket_at(server_, ::connect);
      bool losing = false;
      while (!stop_ && pass(client.get(), server.get(), losing)) {
      }
    }
  }
  static bool readable(int fd) {
    pollfd entry{fd, POLLIN, 0};
    return ::poll(&entry, 1, 5) > 0;
  }
  // False where the connection is at its end.
  bool pass(int client, int server, bool& losing) {
    char buffer[65536];
    if (readable(client)) {
      const ssize_t n = ::read(client, buffer, sizeof buffer);
      if (n <= 0 || ::write(server, buffer, static_cast<std::size_t>(n)) != n) return false;
      const std::string_view asked(buffer, static_cast<std::size_t>(n));
      if (asked.find("EVALSHA") != std::string_view::npos && lose_.exchange(false)) losing = true;
    }
    if (readable(server)) {
      const ssize_t n = ::read(server, buffer, sizeof buffer);
      if (losing) {
        ++lost_;
        return false;
      }
      return n > 0 && ::write(client, buffer, static_cast<std::size_t>(n)) == n;
    }
    return true;
  }

  TempFolder folder_;
  std::string server_;
  base::Fd listener_;
  std::atomic<bool> lose_{false};
  std::atomic<int> lost_{0};
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace nightreel::test
