// A server that says what it is told to, on a unix socket: for replies that no Redis would give.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <functional>
#include <string>
#include <thread>

#include "nightreel/base/file.h"
#include "queue/test_server.h"

namespace nightreel::test {

/// Answers each chunk it receives with `answer(chunk)`; an empty answer closes the connection, "wait" says nothing.
class FakeServer {
 public:
  using Answer = std::function<std::string(const std::string& request)>;
  explicit FakeServer(Answer answer) : answer_(std::move(answer)) {
    listener_ = base::Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    std::strncpy(name.sun_path, path().c_str(), sizeof name.sun_path - 1);
    ::bind(listener_.get(), reinterpret_cast<sockaddr*>(&name), sizeof name);
    ::listen(listener_.get(), 8);
    thread_ = std::thread([this] { serve(); });
  }
  ~FakeServer() {
    stop_ = true;
    ::shutdown(listener_.get(), SHUT_RDWR);
    if (client_ >= 0) ::shutdown(client_, SHUT_RDWR);
    thread_.join();
  }
  std::string path() const { return folder_.path() + "/f"; }
  int connections() const { return connections_; }
  queue::RedisOptions options(bool check = false) const {
    queue::RedisOptions options;
    queue::RedisAddress address;
    address.unix_path = path();
    options.addresses = {address};
    options.check_server = check;
    return options;
  }

 private:
  void serve() {
    const base::SigpipeGuard guard;
    while (!stop_) {
      const base::Fd client(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!client) return;
      ++connections_;
      client_ = client.get();
      while (!stop_ && talk(client.get())) {
      }
      client_ = -1;
    }
  }
  bool talk(int fd) {
    char buffer[65536];
    const ssize_t n = ::read(fd, buffer, sizeof buffer);
    if (n <= 0) return false;
    const std::string reply = answer_(std::string(buffer, static_cast<std::size_t>(n)));
    if (reply == "wait") return true;
    return !reply.empty() && ::write(fd, reply.data(), reply.size()) == static_cast<ssize_t>(reply.size());
  }

  TempFolder folder_;
  Answer answer_;
  base::Fd listener_;
  std::atomic<int> client_{-1};
  std::atomic<int> connections_{0};
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace nightreel::test
