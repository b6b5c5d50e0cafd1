// What a drain loop renders with: one renderer (renderer.h), one on another rank (remote_renderer.h), or several that
// render each video together (group_renderer.h).
//
// An interface; one thread. A unit that ends, hangs or speaks garbage is reported as an Event of its own; the caller
// decides whom to charge and when to start it again.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "nightreel/protocol/message.h"

namespace nightreel::rank {

inline constexpr int kEventsATurn = 500;  // after so many, leases and signals are looked at again

/// In the word of a unit's end: its host had, or gave it, too little memory.
inline constexpr const char* kOutOfHostMemory = "out of host memory";

class RenderUnit {
 public:
  RenderUnit() = default;
  virtual ~RenderUnit() = default;

  /// Throws Error{environment} when it cannot be started at all.
  virtual void start() = 0;
  /// What all later starts are told beside: plans that have run out of memory (memory::StageBytes as text).
  virtual void remember_failed(const std::string& /*memory*/) {}
  /// Whether what it was before has left its device.
  virtual bool may_start() = 0;
  virtual bool running() const = 0;
  /// Whether it has said so since it was started.
  virtual bool ready() const = 0;
  /// Of the world: whose renderers make a video together; none: the caller's own alone.
  virtual std::vector<int> ranks() const { return {}; }

  /// Throws Error{renderer} when the pipe is closed or stuck; poll() then tells how it ended.
  virtual void send(const std::string& line) = 0;

  struct Event {
    std::optional<protocol::Message> message;
    std::string died;   // how it ended, where message is absent
    bool hung = false;  // by its silence, and not by itself
  };
  /// The next event, or nothing within `timeout`.
  virtual std::optional<Event> poll(std::chrono::milliseconds timeout) = 0;

  /// The caller is about to do what may keep it from calling poll() for so long: who waits for signs of it is told.
  virtual void expect_silence(std::chrono::milliseconds /*at_most*/) {}

  virtual std::string log_file() const = 0;
  /// The end of what it, or the one before while none runs, has written to its log; printable.
  virtual std::string last_words() const = 0;

  /// Ends it without a word.
  virtual void kill() = 0;

  /// For one that dies again and again: whether it goes on without the renderer that it dies of.
  virtual bool shrink() { return false; }
  /// Nobody will start it again, and why: people read it.
  virtual void dismiss(const std::string& /*why*/) { kill(); }
  /// Why it cannot be started again: nobody answers where it is; people read it. Empty: somebody does.
  virtual std::string gone() const { return ""; }

 protected:
  RenderUnit(RenderUnit&&) = default;
  RenderUnit& operator=(RenderUnit&&) = default;
};

}  // namespace nightreel::rank
