#include "doctor/probe_renderer.h"

#include "nightreel/base/clock.h"
#include "nightreel/protocol/engine_options.h"

namespace nightreel::doctor {
namespace {

using base::Error;
using base::ErrorKind;

constexpr std::chrono::milliseconds kGrace{500};

double seconds(std::chrono::milliseconds limit) {
  return std::chrono::duration<double>(limit).count();
}

}  // namespace

rank::RendererCommand ProbeRenderer::command_for(const std::string& device) const {
  protocol::EngineOptions options;
  options.probe = true;
  options.device = device == "cpu" ? device : "cuda:" + device;
  rank::RendererCommand command;
  command.argv = protocol::renderer_argv(options);
  command.environment.more = renderer_env_;
  return command;
}

ProbeRenderer::ProbeRenderer(std::vector<std::string> renderer_env)
    : renderer_env_(std::move(renderer_env)), renderer_(command_for("cpu"), base::Logger()) {}

protocol::ReadyEvent ProbeRenderer::start(const std::string& device, std::chrono::milliseconds limit) {
  stop();
  renderer_ = rank::Renderer(command_for(device), base::Logger());
  renderer_.start();
  try {
    return protocol::ready_event(wait_for("ready", limit));
  } catch (const Error&) {
    renderer_.kill();
    throw;
  }
}

void ProbeRenderer::stop() {
  renderer_.stop(kGrace);
}

protocol::ProbedEvent ProbeRenderer::probe(const protocol::ProbeRequest& request, std::chrono::milliseconds limit) {
  return protocol::probed_event(ask(protocol::encode(request), "probed", limit));
}

std::string ProbeRenderer::make_rendezvous(const protocol::GroupRequest& request, std::chrono::milliseconds limit) {
  return protocol::rendezvous_event(ask(protocol::encode(request), "rendezvous", limit)).address;
}

protocol::Message ProbeRenderer::ask(const std::string& line, const std::string& answer,
                                     std::chrono::milliseconds limit) {
  if (!running()) throw Error(ErrorKind::renderer, "its renderer does not run");
  try {
    renderer_.send(line);
  } catch (const Error&) {
    // Its pipe is closed: what follows says how it ended.
  }
  return wait_for(answer, limit);
}

protocol::Message ProbeRenderer::wait_for(const std::string& answer, std::chrono::milliseconds limit) {
  const base::Stopwatch watch;
  while (watch.seconds() < seconds(limit)) {
    const auto event = renderer_.poll(std::chrono::milliseconds(50));
    if (!event) continue;
    if (!event->message) throw Error(ErrorKind::renderer, "its renderer ended: " + event->died);
    if (event->message->type == answer) return *event->message;
    if (event->message->type == "failed") {
      const auto failed = protocol::failed_event(*event->message);
      throw Error(failed.kind, failed.message);
    }
  }
  renderer_.kill();
  throw Error(ErrorKind::renderer, "its renderer gave no answer within " + base::human_duration(seconds(limit)));
}

}  // namespace nightreel::doctor
