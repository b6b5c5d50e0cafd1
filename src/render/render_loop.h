// The thread that renders. Alone it renders what waits, in waves where experts take turns on the GPU; in a group rank 0
// says what is done next, and the others follow it (agreement.h).
//
// Refers to all that it is given, which must outlive it. run() is a thread's body; the other calls are any thread's.
#pragma once

#include <atomic>
#include <exception>
#include <memory>
#include <optional>
#include <vector>

#include "render/events.h"
#include "render/handover.h"
#include "render/jobs.h"
#include "render/limits.h"
#include "render/work.h"

namespace nightreel::render {

/// What the thread that renders is connected to.
struct LoopEnds {
  Maker& maker;
  std::unique_ptr<comm::Rendezvous>& rendezvous;  // keeps what the group meets at, as long as `maker` lives
  Events& events;
  Jobs& jobs;
  Handover<Task>& to_render;
  Handover<Finished>& to_write;
};

class RenderLoop {
 public:
  RenderLoop(const LoopEnds& ends, const Limits& limits)
      : maker_(ends.maker),
        rendezvous_(ends.rendezvous),
        events_(ends.events),
        jobs_(ends.jobs),
        to_render_(ends.to_render),
        to_write_(ends.to_write),
        limits_(limits) {}

  /// Until there is nothing more to render, or its group is over. Throws what the renderer cannot go on after: members
  /// may wait for each other, and the communicator is of no use.
  void run();

  /// Whether this renderer is in a group, or on the way into one.
  bool in_group() const { return in_group_; }
  /// From now on it is. False: it was already.
  bool enter_group() { return !in_group_.exchange(true); }

 private:
  struct HalfDone {
    Work work;
    Begun begun;
  };

  std::optional<Task> next();
  void join(Seat seat);
  void follow();
  void part();
  Order heard();
  Work requested(const Order& order);
  static HalfDone half_done(std::vector<HalfDone>& begun, const Order& order);
  void tell(Order::Verb verb, const Work& work);
  void require(const Work& work, const std::exception_ptr& problem);
  void render_next(Work work);
  Video video_of(const Work& work);
  void render(Work work);
  void render_wave(Work first, std::size_t size);
  void begin(Work work, std::vector<HalfDone>& wave);
  void finish(HalfDone half);
  void hand_over(Work work, Rendered rendered);
  void fail_here(const protocol::RenderRequest& request, const std::exception& thrown);

  Maker& maker_;
  std::unique_ptr<comm::Rendezvous>& rendezvous_;
  Events& events_;
  Jobs& jobs_;
  Handover<Task>& to_render_;
  Handover<Finished>& to_write_;
  const Limits limits_;
  Agreement* agreement_ = nullptr;  // the maker's; null: alone
  std::atomic<bool> in_group_ = false;
};

}  // namespace nightreel::render
