// A renderer without a model, as a rank asks it for what needs LibTorch, CUDA or NCCL.
//
// Owns the process, as rank::Renderer does: one thread, which must outlive it. A call that gets no answer in time kills
// the renderer; what fails is base::Error of the kind that the renderer told, or Error{renderer}.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "nightreel/protocol/probe.h"
#include "nightreel/rank/renderer.h"

namespace nightreel::doctor {

class ProbeRenderer {
 public:
  /// `renderer_env`: names of variables that it gets beside those that every renderer gets.
  explicit ProbeRenderer(std::vector<std::string> renderer_env);

  /// `device`: "cpu", or a GPU's UUID. A renderer before it is ended first.
  protocol::ReadyEvent start(const std::string& device, std::chrono::milliseconds limit);
  bool running() const { return renderer_.running(); }
  protocol::ProbedEvent probe(const protocol::ProbeRequest& request, std::chrono::milliseconds limit);
  /// A new rendezvous' address.
  std::string make_rendezvous(const protocol::GroupRequest& request, std::chrono::milliseconds limit);
  void stop();

 private:
  protocol::Message ask(const std::string& line, const std::string& answer, std::chrono::milliseconds limit);
  protocol::Message wait_for(const std::string& answer, std::chrono::milliseconds limit);
  rank::RendererCommand command_for(const std::string& device) const;
  std::vector<std::string> renderer_env_;
  rank::Renderer renderer_;
};

}  // namespace nightreel::doctor
