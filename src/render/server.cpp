#include "nightreel/render/server.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <atomic>
#include <exception>
#include <thread>

#include "nightreel/base/error.h"
#include "nightreel/pipeline/device.h"
#include "render/handover.h"
#include "render/jobs.h"
#include "render/load_group.h"
#include "render/probe.h"
#include "render/render_loop.h"
#include "render/serving.h"

namespace nightreel::render {
namespace {

using base::Error;
using base::ErrorKind;

class Server {
 public:
  Server(Connection& rank, std::unique_ptr<Maker> maker, int threads, const Limits& limits)
      : events_(rank.events),
        jobs_(events_),
        requests_(rank.requests),
        groups_(rank.groups),
        maker_(std::move(maker)),
        threads_(threads),
        limits_(limits),
        loop_({*maker_, rendezvous_, events_, jobs_, to_render_, to_write_}, limits) {}

  int run() {
    events_.send(protocol::encode(maker_->facts()));
    std::thread beating([this] { events_.beat(stopping_.get_token(), limits_.heartbeat); });
    std::thread rendering([this] { render_all(); });
    std::thread writing([this] { write_all(); });
    std::exception_ptr problem;
    try {
      read_all();
    } catch (const Error&) {
      problem = std::current_exception();  // a rank that makes no sense: the threads end first
    }
    stopping_.request_stop();
    jobs_.cancel_all();
    to_render_.close();
    rendering.join();
    to_write_.close();
    writing.join();
    beating.join();
    if (problem) std::rethrow_exception(problem);
    return broken_ ? base::traits(ErrorKind::comm).exit_code : 0;
  }

 private:
  void read_all() {
    std::string line;
    for (;;) {
      const auto status = requests_.next(line, limits_.look);
      if (status == base::LineReader::Status::closed || events_.lost() || broken_) return;
      if (status == base::LineReader::Status::timeout) continue;
      const auto message = protocol::decode_request(line);
      if (message.type == "shutdown") return;
      handle(message);
    }
  }

  void handle(const protocol::Message& message) {
    if (message.type == "render") accept(protocol::render_request(message));
    if (message.type == "cancel") jobs_.cancel(message.text("job"));
    if (message.type == "checkpoint_and_stop") jobs_.stop(message.text("job"));
    if (message.type == "probe") answer_probe(message, groups_, events_);
    if (message.type == "group") answer(message);
  }

  void answer(const protocol::Message& message) {
    const auto request = protocol::group_request(message);
    if (!request.stay || request.address.empty()) return answer_probe(message, groups_, events_);
    if (!loop_.enter_group()) {
      return events_.fail("", 0, ErrorKind::comm, "group: this renderer is in a group already");
    }
    to_render_.put(Seat{request, groups_.hand_over()});
  }

  void accept(const protocol::RenderRequest& request) {
    Work work{request, {}, {}, nullptr};
    try {
      work.prepared = maker_->prepare(request.settings);
    } catch (const std::exception& e) {
      if (!loop_.in_group()) {
        const auto [kind, why] = explain(e);
        return events_.fail(request.job, request.token, kind, why);
      }
      work.problem = std::current_exception();
    }
    jobs_.add(work);
    to_render_.put(std::move(work));
  }

  void render_all() {
    at::set_num_threads(threads_);  // LibTorch's choice is per thread
    try {
      loop_.run();
    } catch (const std::exception& e) {
      if (!stopping_.stop_requested()) events_.fail("", 0, e);
      broken_ = true;
    }
  }

  void write_all() {
    while (auto finished = to_write_.take()) {
      const auto& request = finished->work.request;
      try {
        jobs_.observer_for(finished->work).progress("encode", 0, 0);
        const OutputFiles files{request.video, request.sheet, request.archive, request.archive_content};
        maker_->write(request.settings, request.spec, files, finished->rendered);
        jobs_.done(*finished);
      } catch (const std::exception& e) {
        jobs_.fail(request, e);
      }
    }
  }

  Events& events_;
  Jobs jobs_;
  base::LineReader& requests_;
  Groups& groups_;
  std::unique_ptr<comm::Rendezvous> rendezvous_;  // of the maker's group, which it must outlive
  const std::unique_ptr<Maker> maker_;
  const int threads_;
  const Limits limits_;
  Handover<Task> to_render_;
  Handover<Finished> to_write_;
  RenderLoop loop_;
  std::atomic<bool> broken_ = false;
  std::stop_source stopping_;
};

std::unique_ptr<comm::Communicator> group_to_load(Connection& rank, const MakerOptions& options) {
  pipeline::choose_device(options.device);
  return meet_to_load(rank.requests, rank.groups, rank.events, options.log);
}

}  // namespace

int serve_with(Connection& rank, std::unique_ptr<Maker> maker, int threads, const Limits& limits) {
  return Server(rank, std::move(maker), threads, limits).run();
}

int serve(const MakerOptions& options, int request_fd, int event_fd) {
  Connection rank(request_fd, event_fd);
  return exit_code_of(rank.events, [&] {
    auto loading = options.load_group ? group_to_load(rank, options) : nullptr;
    return serve_with(rank, std::make_unique<VideoMaker>(options, std::move(loading)), options.threads);
  });
}

}  // namespace nightreel::render
