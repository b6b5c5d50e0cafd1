// A renderer without a model: it says what it runs on and answers `probe` and `group`.
#include <ATen/Parallel.h>

#include <thread>

#include "nightreel/base/pipe.h"
#include "nightreel/pipeline/device.h"
#include "nightreel/render/device.h"
#include "nightreel/render/server.h"
#include "render/probe.h"

namespace nightreel::render {
namespace {

void answer_all(int request_fd, Events& events) {
  base::LineReader requests(request_fd, protocol::kMaxLine);
  Groups groups;
  std::string line;
  for (;;) {
    const auto status = requests.next(line, std::chrono::milliseconds(200));
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

void serve(const MakerOptions& options, int request_fd, Events& events) {
  at::set_num_threads(options.threads);
  protocol::ReadyEvent ready;
  ready.model = protocol::Json::object();
  describe_device(pipeline::choose_device(options.device), ready);
  events.send(protocol::encode(ready));
  base::CancelToken stopping;
  std::thread beating([&] { events.beat(stopping); });
  std::exception_ptr problem;
  try {
    answer_all(request_fd, events);
  } catch (const base::Error&) {
    problem = std::current_exception();  // a rank that makes no sense: the thread ends first
  }
  stopping.cancel();
  beating.join();
  if (problem) std::rethrow_exception(problem);
}

}  // namespace

int serve_probes(const MakerOptions& options, int request_fd, int event_fd) {
  Events events(event_fd);
  try {
    serve(options, request_fd, events);
    return 0;
  } catch (const std::exception& e) {
    const auto [kind, why] = explain(e);
    events.fail("", 0, kind, why);
    return base::traits(kind).exit_code;
  }
}

}  // namespace nightreel::render
