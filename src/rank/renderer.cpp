#include "nightreel/rank/renderer.h"

#include <csignal>

namespace nightreel::rank {

using base::Error;
using base::ErrorKind;
using std::chrono::milliseconds;

void Renderer::start() {
  base::ChildOptions options;
  options.argv = command_.argv;
  options.stderr_path = command_.stderr_path;
  child_ = base::Child(options);
  reader_.emplace(child_.stdout_fd(), protocol::kMaxLine);
  since_event_ = base::Stopwatch();
  log_.debug("renderer-start", "renderer process " + std::to_string(child_.pid()));
}

void Renderer::send(const std::string& line) {
  base::write_line(child_.stdin_fd(), line, milliseconds(2000));
}

Renderer::Event Renderer::ended(const std::string& why) {
  child_.kill(SIGKILL);
  const auto how = child_.wait(milliseconds(5000));
  child_ = base::Child();
  reader_.reset();
  return {std::nullopt, why.empty() ? how.value_or("cannot be killed") : why};
}

std::optional<Renderer::Event> Renderer::poll(milliseconds timeout) {
  try {
    std::string line;
    switch (reader_->next(line, timeout)) {
      case base::LineReader::Status::line:
        since_event_ = base::Stopwatch();
        return Event{protocol::decode_event(line), ""};
      case base::LineReader::Status::closed:
        // Ask how it ended before killing it: the exit code or signal is what the operator needs to read.
        return ended(child_.wait(milliseconds(500)).value_or("closed its event pipe"));
      case base::LineReader::Status::timeout:
        break;
    }
  } catch (const Error& e) {
    return ended(e.what());
  }
  if (since_event_.seconds() > command_.silence_limit_s) {
    return ended("hung: no event for " + base::human_duration(since_event_.seconds()));
  }
  return std::nullopt;
}

void Renderer::stop(milliseconds grace) {
  if (!running()) return;
  try {
    send(protocol::encode_plain("shutdown"));
    child_.close_stdin();
    child_.wait(grace);
  } catch (const Error&) {
    // It is gone or stuck; what follows ends it either way.
  }
  kill();
}

void Renderer::kill() {
  if (running()) ended("");
}

protocol::ReadyEvent Renderer::wait_ready(double limit_s, const std::function<bool()>& interrupted) {
  const base::Stopwatch watch;
  while (watch.seconds() < limit_s) {
    if (interrupted()) throw Error(ErrorKind::interrupted, "asked to stop while the renderer was loading");
    const auto event = poll(milliseconds(50));
    if (!event) continue;
    if (!event->message) throw Error(ErrorKind::renderer, "the renderer ended while loading: " + event->died);
    if (event->message->type == "ready") return protocol::ready_event(*event->message);
    if (event->message->type == "failed") {
      const auto failed = protocol::failed_event(*event->message);
      throw Error(failed.kind, failed.message);
    }
  }
  kill();
  throw Error(ErrorKind::renderer, "the renderer was not ready after " + base::human_duration(limit_s));
}

}  // namespace nightreel::rank
