#include "rank/coming_up.h"

#include <thread>

#include "nightreel/base/clock.h"
#include "nightreel/base/error.h"

namespace nightreel::rank {
namespace {

using base::Error;
using base::ErrorKind;
using std::chrono::milliseconds;

constexpr milliseconds kPoll{50};

// What may come of the others or of the way to them. A model that cannot be loaded cannot be loaded alone either.
bool may_be_the_groups(ErrorKind kind) {
  return kind == ErrorKind::comm || kind == ErrorKind::device || kind == ErrorKind::device_memory ||
         kind == ErrorKind::internal;
}

class Coming {
 public:
  Coming(Renderer& renderer, const ComingUp& how, const base::Logger& log)
      : renderer_(renderer), how_(how), log_(log), together_(how.together) {}

  std::optional<protocol::ReadyEvent> look() {
    if (!renderer_.running()) {
      renderer_.may_start() ? renderer_.start() : std::this_thread::sleep_for(kPoll);
      return std::nullopt;
    }
    const auto event = renderer_.poll(kPoll);
    if (event) return event->message ? take(*event->message) : died(*event);
    if (together_ && !met_ && since_begin_.seconds() > how_.meeting_limit_s) {
      alone("the renderers did not meet within " + base::human_duration(how_.meeting_limit_s));
    }
    return std::nullopt;
  }

 private:
  // Words that no engine of this build says: the installation is wrong, and no job's attempt.
  static protocol::ReadyEvent ready_of(const protocol::Message& message) {
    try {
      return protocol::ready_event(message);
    } catch (const Error& e) {
      throw Error(ErrorKind::environment, std::string("the renderer's words cannot be used: ") + e.what() +
                                              "; install nightreel and nightreel-engine from one build");
    }
  }

  std::optional<protocol::ReadyEvent> take(const protocol::Message& message) {
    if (message.type == "ready") return ready_of(message);
    if (message.type == "rendezvous") met_ = met_ || protocol::rendezvous_event(message).joined;
    if (message.type != "failed") return std::nullopt;
    const auto failed = protocol::failed_event(message);
    if (!together_ || !may_be_the_groups(failed.kind)) throw Error(failed.kind, failed.message);
    alone(failed.message);
    return std::nullopt;
  }

  std::optional<protocol::ReadyEvent> died(const Renderer::Event& event) {
    const std::string words = renderer_.last_words();
    const std::string why = event.died + (words.empty() ? "" : "; its last words: " + words);
    if (together_) {
      alone("it ended: " + why);
    } else if (!event.hung && again_ < kStartsAgain && since_begin_.seconds() < how_.loading_limit_s) {
      ++again_;
      log_.warn("renderer-again", "the renderer ended while loading, and is started again (" + std::to_string(again_) +
                                      " of " + std::to_string(kStartsAgain) + "): " + why);
    } else {
      throw Error(ErrorKind::renderer, "the renderer ended while loading: " + why);
    }
    return std::nullopt;
  }

  void alone(const std::string& why) {
    log_.warn("load-alone", "the renderer is started anew and reads all weights itself, since together failed: " + why);
    together_ = false;
    renderer_.kill();
  }

  Renderer& renderer_;
  const ComingUp& how_;
  const base::Logger& log_;
  bool together_;  // it is on its way with the others
  bool met_ = false;
  int again_ = 0;
  base::Stopwatch since_begin_;
};

}  // namespace

protocol::ReadyEvent come_up(Renderer& renderer, const ComingUp& how, const std::function<bool()>& interrupted,
                             const base::Logger& log) {
  Coming coming(renderer, how, log);
  for (;;) {
    if (interrupted()) throw Error(ErrorKind::interrupted, "asked to stop while the renderer was loading");
    if (auto ready = coming.look()) return *ready;
  }
}

}  // namespace nightreel::rank
