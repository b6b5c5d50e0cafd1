#include "render/probe.h"

#include "nightreel/base/clock.h"
#include "nightreel/card/card.h"
#include "nightreel/model/checkpoint.h"
#include "nightreel/protocol/probe.h"
#include "nightreel/render/device.h"
#include "render/transfers.h"

namespace nightreel::render {
namespace {

protocol::ProbedEvent probe_model(const std::string& folder) {
  const base::Stopwatch watch;
  card::read(folder);  // a folder without a model would have a digest too
  const std::string digest = model::model_digest(folder);
  return {{{"digest", digest}, {"seconds", watch.seconds()}}, {}};
}

protocol::ProbedEvent probe_group(const protocol::ProbeRequest& request, Groups& groups) {
  protocol::ProbedEvent event;
  const at::Device device = request.group.backend == "nccl" ? at::Device(at::kCUDA, 0) : at::Device(at::kCPU);
  groups.visit(request.group, [&](comm::Communicator& group) {
    event.transfers = measure_transfers(group, device, request.transfers, request.repeats);
  });
  event.facts = {{"sum_correct", true}};
  return event;
}

protocol::ProbedEvent probe(const protocol::ProbeRequest& request, Groups& groups) {
  if (request.what == "model") return probe_model(request.model);
  if (request.what == "group") return probe_group(request, groups);
  return {engine_versions(), {}};
}

}  // namespace

void answer_probe(const protocol::Message& message, Groups& groups, Events& events) {
  const bool group = message.type == "group";
  const auto asked = group ? protocol::ProbeRequest() : protocol::probe_request(message);
  const auto wanted = group ? protocol::group_request(message) : protocol::GroupRequest();
  try {
    events.send(group ? protocol::encode(groups.answer(wanted)) : protocol::encode(probe(asked, groups)));
  } catch (const std::exception& e) {
    const auto [kind, why] = explain(e);
    events.fail("", 0, kind, why);
  }
}

}  // namespace nightreel::render
