#include "nightreel/rank/remote_renderer.h"

#include <utility>

#include "rank/group_message.h"

namespace nightreel::rank {
namespace {}  // namespace

void RemoteRenderer::tell(const std::string& what, const std::string& text) {
  if (!left_) link_.send(rank_.at, to_json({what, start_, text, "", 0}));
}

void RemoteRenderer::start() {
  ++start_;
  running_ = true;
  ready_ = false;
  words_.clear();
  tell("start", memory_failed_);
}

void RemoteRenderer::send(const std::string& line) {
  if (!running_) throw base::Error(base::ErrorKind::renderer, "the renderer of " + rank_.name + " does not run");
  tell("send", line);
}

void RemoteRenderer::kill() {
  if (!running_) return;
  running_ = false;
  if (gone_.empty()) tell("kill");
}

// A rank that is frozen finds this among the first things when it wakes.
void RemoteRenderer::dismiss(const std::string& why) {
  running_ = false;
  gone_ = why;
  tell("out", why);
}

void RemoteRenderer::expect_silence(std::chrono::milliseconds at_most) {
  tell_sign(std::chrono::duration<double>(at_most).count());
}

void RemoteRenderer::tell_sign(double silence_s) {
  since_sign_ = base::Stopwatch();
  if (gone_.empty()) link_.send(rank_.at, to_json({"alive", start_, "", "", silence_s}));
}

void RemoteRenderer::end() {
  tell("end");
}

std::optional<RenderUnit::Event> RemoteRenderer::lost(const std::string& why) {
  gone_ = why;
  if (!std::exchange(running_, false)) return std::nullopt;
  return Event{std::nullopt, why};
}

std::optional<RenderUnit::Event> RemoteRenderer::poll(std::chrono::milliseconds /*timeout*/) {
  if (since_sign_.seconds() > kSign_s) tell_sign(0);
  while (const auto text = link_.receive(rank_.at)) {
    silence_.broken();
    const GroupMessage said = group_message(*text);
    if (said.what == "asked") asked_(said.text == "stop" ? Ask::stop : Ask::finish);
    if (said.what == "left") {
      left_ = true;
      return lost("its rank has left the group: " + said.text);
    }
    if (!running_ || said.start != start_) continue;
    if (said.what == "event") {
      Event event{protocol::decode_event(said.text), ""};
      ready_ = ready_ || event.message->type == "ready";
      return event;
    }
    if (said.what == "died") {
      running_ = false;
      words_ = said.words;
      return Event{std::nullopt, said.text};
    }
  }
  silence_.look();
  if (!gone_.empty() || silence_.seconds() <= rank_.silence_limit_s) return std::nullopt;
  return lost("no sign of life of its rank for " + base::human_duration(silence_.seconds()));
}

}  // namespace nightreel::rank
