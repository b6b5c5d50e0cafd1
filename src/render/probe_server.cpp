// A renderer without a model: it says what it runs on and answers `probe` and `group`.
#include <ATen/Parallel.h>

#include <thread>

#include "nightreel/base/pipe.h"
#include "nightreel/pipeline/device.h"
#include "nightreel/render/device.h"
#include "nightreel/render/server.h"
#include "render/limits.h"
#include "render/probe.h"

namespace nightreel::render {
namespace {

void answer_probes(int request_fd, Events& events, const Limits& limits) {
  base::LineReader requests(request_fd, protocol::kMaxLine);
  Groups groups;
  std::string line;
  for (;;) {
    const auto status = requests.next(line, limits.look);
    if (status == base::LineReader::Status::closed || events.lost()) return;
    if (status == base::LineReader::Status::timeout) continue;
    const auto message = protocol::decode_request(line);
    if (message.type == "shutdown") return;
    if (message.type == "probe" || message.type == "group") answer_probe(message, groups, events);
    if (message.type == "render") {
      const auto request = protocol::render_request(message);
      events.fail(request.job, request.token, base::ErrorKind::model, "this renderer was started without a model");
    }
  }
}

void serve_alone(const MakerOptions& options, int request_fd, Events& events) {
  at::set_num_threads(options.threads);
  protocol::ReadyEvent ready;
  ready.model = protocol::Json::object();
  describe_device(pipeline::choose_device(options.device), ready);
  events.send(protocol::encode(ready));
  const Limits limits;
  std::stop_source stopping;
  std::thread beating([&] { events.beat(stopping.get_token(), limits.heartbeat); });
  std::exception_ptr problem;
  try {
    answer_probes(request_fd, events, limits);
  } catch (const base::Error&) {
    problem = std::current_exception();  // a rank that makes no sense: the thread ends first
  }
  stopping.request_stop();
  beating.join();
  if (problem) std::rethrow_exception(problem);
}

}  // namespace

int serve_probes(const MakerOptions& options, int request_fd, int event_fd) {
  Events events(event_fd);
  return exit_code_of(events, [&] {
    serve_alone(options, request_fd, events);
    return 0;
  });
}

}  // namespace nightreel::render
