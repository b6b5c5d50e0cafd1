#include "nightreel/rank/member.h"

#include <thread>

#include "rank/group_message.h"

namespace nightreel::rank {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kFirst = 0;
constexpr milliseconds kListen{10};
constexpr double kSign_s = 1;
constexpr double kWaitForFirst_s = 0.42;  // it saves the state of the video, which takes all renderers
constexpr int kEventsATurn = 500;

}  // namespace

std::string Member::serve() {
  while (!over()) {
    while (const auto text = link_.receive(kFirst)) take(*text);
    start_if_wanted();
    pass_events();
    tell_signs();
  }
  renderer_.kill();
  return out_;
}

bool Member::over() {
  if (signals_.asked() == Ask::stop && !stopping_) stopping_.emplace();
  return ended_ || (stopping_ && stopping_->seconds() > kWaitForFirst_s);
}

void Member::take(const std::string& text) {
  const GroupMessage said = group_message(text);
  if (said.what == "end") ended_ = true;
  if (said.what == "start") {
    start_ = said.start;
    wanted_ = true;
  }
  if (said.what == "kill" || said.what == "out" || said.what == "start") renderer_.kill();
  if (said.what == "kill" || said.what == "out") wanted_ = false;
  if (said.what == "out") {
    out_ = said.text;
    log_.warn("out-of-group", out_);
  }
  if (said.what != "send" || said.start != start_ || !renderer_.running()) return;
  try {
    renderer_.send(said.text);
  } catch (const base::Error&) {
    // It is gone or stuck: the next poll, or its silence, says so.
  }
}

void Member::start_if_wanted() {
  if (!wanted_ || !renderer_.may_start()) return;
  wanted_ = false;
  try {
    renderer_.start();
  } catch (const base::Error& e) {
    tell("died", e.what());
  }
}

void Member::pass_events() {
  if (!renderer_.running()) return std::this_thread::sleep_for(kListen);
  auto event = renderer_.poll(kListen);
  for (int seen = 1; event; ++seen) {
    if (!event->message) {
      log_.error("renderer-died", event->died);
      return tell("died", event->died, renderer_.last_words());
    }
    if (event->message->type != "heartbeat") tell("event", event->message->body.dump());
    if (seen == kEventsATurn) return;
    event = renderer_.poll(milliseconds(0));
  }
}

void Member::tell(const std::string& what, const std::string& text, const std::string& words) {
  link_.send(kFirst, to_json({what, start_, text, words}));
}

void Member::tell_signs() {
  if (const Ask asked = signals_.asked(); asked > told_) {
    tell("asked", asked == Ask::stop ? "stop" : "finish");
    told_ = asked;
  }
  if (!out_.empty() || since_sign_.seconds() < kSign_s) return;
  since_sign_ = base::Stopwatch();
  tell("alive", "");
}

}  // namespace nightreel::rank
