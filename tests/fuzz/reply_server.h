// A server on a unix socket that answers whatever it is asked with the replies that it was given last.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "nightreel/base/file.h"
#include "nightreel/base/pipe.h"

namespace nightreel::fuzz {

/// Owns its thread; say() may be called between two connections.
class ReplyServer {
 public:
  explicit ReplyServer(std::string path) : path_(std::move(path)) {
    listener_ = base::Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    std::strncpy(name.sun_path, path_.c_str(), sizeof name.sun_path - 1);
    ::bind(listener_.get(), reinterpret_cast<sockaddr*>(&name), sizeof name);
    ::listen(listener_.get(), 8);
    thread_ = std::thread([this] { serve(); });
  }
  ReplyServer(const ReplyServer&) = delete;
  ReplyServer& operator=(const ReplyServer&) = delete;
  ~ReplyServer() {
    ::shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
  }
  const std::string& path() const { return path_; }

  /// A byte 0 stands between two replies.
  void say(std::string_view replies) {
    const std::lock_guard lock(mutex_);
    replies_ = replies;
  }

 private:
  void serve() {
    const base::SigpipeGuard guard;
    for (;;) {
      const base::Fd client(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!client) return;
      talk(client.get(), replies());
    }
  }
  std::string replies() {
    const std::lock_guard lock(mutex_);
    return replies_;
  }
  /// One reply for each request; behind the last one the other side reads the end.
  static void talk(int fd, std::string_view rest) {
    char request[65536];
    for (bool more = true; more && ::read(fd, request, sizeof request) > 0;) {
      const auto end = rest.find('\0');
      const std::string_view reply = rest.substr(0, end);
      more = end != std::string_view::npos;
      if (more) rest.remove_prefix(end + 1);
      if (::write(fd, reply.data(), reply.size()) < 0) return;
    }
    ::shutdown(fd, SHUT_WR);
    while (::read(fd, request, sizeof request) > 0) {
    }
  }

  std::string path_;
  base::Fd listener_;
  std::mutex mutex_;
  std::string replies_;
  std::thread thread_;
};

}  // namespace nightreel::fuzz
