// The renderer process as its rank sees it: started, spoken to, watched, started again.
//
// Owns the process. One thread, and that thread must outlive it (base/process.h says why). A renderer that ends, hangs
// or speaks garbage is killed and reported as an Event of its own; the caller decides whom to charge and when to start
// the next one.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "nightreel/base/clock.h"
#include "nightreel/base/log.h"
#include "nightreel/base/pipe.h"
#include "nightreel/base/process.h"
#include "nightreel/protocol/message.h"
#include "nightreel/rank/host_memory.h"
#include "nightreel/rank/render_unit.h"
#include "nightreel/rank/silence.h"

namespace nightreel::rank {

struct RendererCommand {
  std::vector<std::string> argv;  // nightreel-engine render --model … --device …
  std::string stderr_path;        // its log: libraries print there
  double loading_limit_s = 3600;  // without a word from its start to `ready`
  double silence_limit_s = 30;    // after that a heartbeat comes every second, from a thread that does nothing else
  /// Whether the driver lists this process on the renderer's GPU; empty: there is none.
  std::function<bool(pid_t)> on_gpu = nullptr;
  std::vector<std::string> first_argv = {};  // more arguments, of the first start alone
  base::EnvironmentRule environment = {base::EnvironmentRule::Take::listed, {}};
};

class Renderer : public RenderUnit {
 public:
  Renderer(RendererCommand command, base::Logger log) : command_(std::move(command)), log_(std::move(log)) {}

  void start() override;
  void remember_failed(const std::string& memory) override { memory_failed_ = memory; }
  /// Whether the GPU is rid of the process before: the driver gives its memory back some time after its end. One that
  /// is listed for half a minute is waited for no longer.
  bool may_start() override;
  bool running() const override { return static_cast<bool>(child_); }
  bool ready() const override { return running() && ready_; }
  pid_t pid() const { return child_.pid(); }

  void send(const std::string& line) override;
  std::optional<Event> poll(std::chrono::milliseconds timeout) override;
  std::string log_file() const override { return command_.stderr_path; }
  std::string last_words() const override;

  /// Asks it to shut down, waits at most `grace`, then kills it.
  void stop(std::chrono::milliseconds grace);
  /// SIGKILL and reap.
  void kill() override;

 private:
  Event ended(const std::string& why);
  Event closed();
  void suspect_host(protocol::Message& message) const;
  Event take(const std::string& line);
  bool floods();
  RendererCommand command_;
  std::string memory_failed_;
  base::Logger log_;
  base::Child child_;
  std::optional<base::LineReader> reader_;
  HostMemoryWatch host_memory_;
  std::uintmax_t log_from_ = 0;  // where this process's part of the log begins
  pid_t dead_ = -1;              // the process before, while the GPU may hold it
  base::Stopwatch since_end_;
  bool ready_ = false;
  Silence silence_;
  base::Stopwatch second_;  // in which events_ were taken
  int events_ = 0;
};

}  // namespace nightreel::rank
