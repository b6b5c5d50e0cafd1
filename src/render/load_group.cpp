#include "render/load_group.h"

#include "nightreel/base/error.h"
#include "nightreel/protocol/message.h"
#include "render/probe.h"

namespace nightreel::render {
namespace {

using base::Error;
using base::ErrorKind;

std::unique_ptr<comm::Communicator> join_to_load(const protocol::GroupRequest& request, Events& events,
                                                 const base::Logger& log) {
  try {
    auto group = join_group(request);
    events.send(protocol::encode(protocol::RendezvousEvent{request.address, true}));
    return group;
  } catch (const Error& e) {
    if (request.backend == "nccl") throw;  // it may have left threads and work on the GPU: this process is of no use
    log.warn("load-group", std::string("reading the weights alone, since the group did not meet: ") + e.what());
    return nullptr;
  }
}

}  // namespace

std::unique_ptr<comm::Communicator> meet_to_load(base::LineReader& requests, Groups& groups, Events& events,
                                                 const base::Logger& log) {
  std::string line;
  for (;;) {
    const auto status = requests.next(line, std::chrono::milliseconds(200));
    if (status == base::LineReader::Status::timeout) continue;
    const bool over = status == base::LineReader::Status::closed;
    const auto message = over ? protocol::Message{} : protocol::decode_request(line);
    if (over || message.type == "shutdown") throw Error(ErrorKind::interrupted, "told to end before loading");
    if (message.type != "group") continue;  // nothing to render or to cancel yet
    const auto request = protocol::group_request(message);
    if (!request.address.empty()) return join_to_load(request, events, log);
    answer_probe(message, groups, events);
  }
}

}  // namespace nightreel::render
