#include "nightreel/rank/remote_renderer.h"

#include "rank/group_message.h"

namespace nightreel::rank {

void RemoteRenderer::tell(const std::string& what, const std::string& text) {
  link_.send(rank_.at, to_json({what, start_, text, ""}));
}

void RemoteRenderer::start() {
  ++start_;
  running_ = true;
  ready_ = false;
  words_.clear();
  silence_.broken();
  tell("start");
}

void RemoteRenderer::send(const std::string& line) {
  if (!running_) throw base::Error(base::ErrorKind::renderer, "the renderer of " + rank_.name + " does not run");
  tell("send", line);
}

void RemoteRenderer::kill() {
  if (!running_) return;
  running_ = false;
  if (!gone_) tell("kill");
}

// A rank that is frozen finds this among the first things when it wakes.
void RemoteRenderer::dismiss(const std::string& why) {
  running_ = false;
  gone_ = true;
  tell("out", why);
}

void RemoteRenderer::end() {
  tell("end");
}

std::optional<RenderUnit::Event> RemoteRenderer::poll(std::chrono::milliseconds /*timeout*/) {
  while (const auto text = link_.receive(rank_.at)) {
    silence_.broken();
    const GroupMessage said = group_message(*text);
    if (said.what == "asked") asked_(said.text == "stop" ? Ask::stop : Ask::finish);
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
  if (!running_) return std::nullopt;
  silence_.look();
  if (silence_.seconds() <= rank_.silence_limit_s) return std::nullopt;
  running_ = false;
  gone_ = true;
  return Event{std::nullopt, "no sign of life of its rank for " + base::human_duration(silence_.seconds())};
}

}  // namespace nightreel::rank
