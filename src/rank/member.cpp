#include "nightreel/rank/member.h"

#include <algorithm>
#include <thread>

#include "rank/group_message.h"

namespace nightreel::rank {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kFirst = 0;
constexpr double kWaitForFirst_s = 0.42;  // it saves the state of the video, which takes all renderers

}  // namespace

MemberEnd Member::serve() {
  while (!over()) {
    while (const auto text = link_.receive(kFirst)) take(*text);
    start_if_wanted();
    pass_events();
    tell_signs();
    look_for_first();
  }
  renderer_.kill();
  if (!left_.empty()) return {MemberEnd::Kind::left, left_};
  return {out_.empty() ? MemberEnd::Kind::over : MemberEnd::Kind::out, out_};
}

bool Member::over() {
  if (signals_.asked() == Ask::stop && !stopping_) stopping_.emplace();
  return ended_ || !left_.empty() || (stopping_ && stopping_->seconds() > kWaitForFirst_s);
}

void Member::take(const std::string& text) {
  const GroupMessage said = group_message(text);
  silence_.broken();
  silence_limit_s_ = std::max(first_.silence_limit_s, said.silence_s);
  if (said.what == "end") ended_ = true;
  if (said.what == "start") {
    renderer_.remember_failed(said.text);
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
  if (!renderer_.running()) return std::this_thread::sleep_for(kMemberPoll);
  auto event = renderer_.poll(kMemberPoll);
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
  link_.send(kFirst, to_json({what, start_, text, words, 0}));
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

// What is out of the group is no concern of the first rank's, and hears no more of it.
void Member::look_for_first() {
  silence_.look();
  if (!out_.empty() || ended_ || silence_.seconds() <= silence_limit_s_) return;
  left_ = "no sign of life of " + first_.name + " for " + base::human_duration(silence_.seconds());
  tell("left", left_);
}

}  // namespace nightreel::rank
