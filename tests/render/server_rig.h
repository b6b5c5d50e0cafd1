// A renderer as its rank has it, but for the process: requests go in on one pipe, events come out on another, and there
// is an exit code. Its maker may be a fake.
#pragma once

#include <unistd.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "nightreel/base/error.h"
#include "render/fake_maker.h"
#include "render/serving.h"
#include "render/support.h"
#include "support/comes.h"

namespace nightreel::test {

class ServerRig {
  Wire requests_;
  Wire events_;

 public:
  /// `serve`: the renderer's life on two descriptors; returns its exit code.
  explicit ServerRig(const std::function<int(int request_fd, int event_fd)>& serve)
      : thread_([this, serve] {
          code_ = serve(requests_.out(), events_.in());
          events_.close_in();  // as the end of a process does
          ended_.add("ended");
        }) {}
  ServerRig(const ServerRig&) = delete;
  ServerRig& operator=(const ServerRig&) = delete;
  ~ServerRig() {
    requests_.close_in();
    if (thread_.joinable()) thread_.join();
  }

  Heard heard{events_.out()};

  void send(const std::string& line) { base::write_line(requests_.in(), line); }
  void send(const char* type, const protocol::Json& fields) { send(protocol::encode_plain(type, fields)); }
  void render(const std::string& job, std::uint64_t token = 1) { send(protocol::encode(request_for(job, token))); }
  /// Without the end of the line.
  void send_unfinished(const std::string& line) {
    if (::write(requests_.in(), line.data(), line.size()) < 0) base::throw_errno("cannot write to", "a pipe");
  }
  void close_requests() { requests_.close_in(); }
  void close_events() { events_.close_out(); }
  /// Once it has ended of itself. Throws std::runtime_error after kHang.
  int code() {
    ended_.wait_for("ended");
    thread_.join();
    return code_;
  }
  /// Tells it to end, and waits.
  int end() {
    send(protocol::encode_plain("shutdown"));
    return code();
  }

 private:
  int code_ = -1;
  Diary ended_;
  std::thread thread_;
};

/// For as long as nobody cancels it. Throws what a maker throws then.
inline void work_until_cancelled(const render::RenderObserver& observer) {
  if (comes([&] { return observer.cancel.cancelled(); })) observer.cancel.throw_if_cancelled();
}

/// What `heartbeat` and `look` are to a rank is nobody's waiting here.
inline render::Limits server_limits() {
  render::Limits limits;
  limits.heartbeat = limits.look = limits.beat = std::chrono::milliseconds(10);
  limits.rest = std::chrono::milliseconds(5);
  limits.patience = limits.farewell = kHang;
  return limits;
}

/// A ServerRig with a fake maker, which `prepare` may change before it is asked anything.
inline std::function<int(int, int)> serve_fake(const std::function<void(FakeMaker&)>& prepare) {
  return [prepare](int request_fd, int event_fd) {
    render::Connection rank(request_fd, event_fd);
    return render::exit_code_of(rank.events, [&] {
      auto maker = std::make_unique<FakeMaker>();
      if (prepare) prepare(*maker);
      return render::serve_with(rank, std::move(maker), 1, server_limits());
    });
  };
}

}  // namespace nightreel::test
