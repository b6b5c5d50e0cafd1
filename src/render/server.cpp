#include "nightreel/render/server.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <atomic>
#include <exception>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <variant>

#include "nightreel/base/clock.h"
#include "nightreel/base/error.h"
#include "nightreel/base/pipe.h"
#include "nightreel/pipeline/device.h"
#include "render/agreement.h"
#include "render/events.h"
#include "render/group.h"
#include "render/handover.h"
#include "render/probe.h"

namespace nightreel::render {
namespace {

using base::Error;
using base::ErrorKind;
using std::chrono::milliseconds;

constexpr milliseconds kRest{1600};      // less than Agreement::kBeat
constexpr milliseconds kPatience{5000};  // for the other end of the group to hear that all is over

struct Work {
  protocol::RenderRequest request;
  Prepared prepared;
  base::CancelToken cancel;
  std::exception_ptr problem;  // in a group, where all must hear of it first
};

// A place in a group that stays, and what its members meet at.
struct Seat {
  protocol::GroupRequest request;
  std::unique_ptr<comm::Rendezvous> rendezvous;
};

using Task = std::variant<Work, Seat>;

bool is_work(const Task& task) {
  return std::holds_alternative<Work>(task);
}

bool is_about(const protocol::RenderRequest& request, const Order& order) {
  return request.job == order.job && request.token == order.token;
}

struct HalfDone {
  Work work;
  Begun begun;
};

struct Finished {
  Work work;
  Rendered rendered;
};

class Server {
 public:
  Server(const ServerOptions& options, int request_fd, int event_fd)
      : events_(event_fd),
        requests_(request_fd, protocol::kMaxLine),
        maker_(options.maker, options.load_group ? meet_to_load(options.maker) : nullptr),
        threads_(options.maker.threads) {}

  int run() {
    events_.send(protocol::encode(maker_.facts()));
    std::thread beating([this] { events_.beat(stopping_); });
    std::thread rendering([this] { render_all(); });
    std::thread writing([this] { write_all(); });
    std::exception_ptr problem;
    try {
      read_all();
    } catch (const Error&) {
      problem = std::current_exception();  // a rank that makes no sense: the threads end first
    }
    stopping_.cancel();
    cancel_all();
    to_render_.close();
    rendering.join();
    to_write_.close();
    writing.join();
    beating.join();
    if (problem) std::rethrow_exception(problem);
    return broken_ ? base::traits(ErrorKind::comm).exit_code : 0;
  }

 private:
  /// Before the model is loaded: answers `group` until one has an address, and joins it. Null: to be loaded alone.
  std::unique_ptr<comm::Communicator> meet_to_load(const MakerOptions& options) {
    pipeline::choose_device(options.device);
    std::string line;
    for (;;) {
      const auto status = requests_.next(line, milliseconds(200));
      if (status == base::LineReader::Status::timeout) continue;
      const bool over = status == base::LineReader::Status::closed;
      const auto message = over ? protocol::Message{} : protocol::decode_request(line);
      if (over || message.type == "shutdown") throw Error(ErrorKind::interrupted, "told to end before loading");
      if (message.type != "group") continue;  // nothing to render or to cancel yet
      const auto request = protocol::group_request(message);
      if (!request.address.empty()) return join_to_load(request, options.log);
      answer_probe(message, groups_, events_);
    }
  }

  std::unique_ptr<comm::Communicator> join_to_load(const protocol::GroupRequest& request, const base::Logger& log) {
    try {
      auto group = join_group(request);
      events_.send(protocol::encode(protocol::RendezvousEvent{request.address, true}));
      return group;
    } catch (const Error& e) {
      log.warn("load-group", std::string("reading the weights alone, since the group did not meet: ") + e.what());
      return nullptr;
    }
  }

  void read_all() {
    std::string line;
    for (;;) {
      const auto status = requests_.next(line, milliseconds(200));
      if (status == base::LineReader::Status::closed || events_.lost() || broken_) return;
      if (status == base::LineReader::Status::timeout) continue;
      const auto message = protocol::decode_request(line);
      if (message.type == "shutdown") return;
      handle(message);
    }
  }

  void handle(const protocol::Message& message) {
    if (message.type == "render") accept(protocol::render_request(message));
    if (message.type == "cancel") cancel(message.text("job"));
    if (message.type == "checkpoint_and_stop") stop(message.text("job"));
    if (message.type == "probe") answer_probe(message, groups_, events_);
    if (message.type == "group") answer(message);
  }

  void answer(const protocol::Message& message) {
    const auto request = protocol::group_request(message);
    if (!request.stay || request.address.empty()) return answer_probe(message, groups_, events_);
    if (in_group_.exchange(true)) {
      return events_.fail("", 0, ErrorKind::comm, "group: this renderer is in a group already");
    }
    to_render_.put(Seat{request, groups_.hand_over()});
  }

  void accept(const protocol::RenderRequest& request) {
    Work work{request, {}, {}, nullptr};
    try {
      work.prepared = maker_.prepare(request.settings);
    } catch (const std::exception& e) {
      if (!in_group_) {
        const auto [kind, why] = explain(e);
        return events_.fail(request.job, request.token, kind, why);
      }
      work.problem = std::current_exception();
    }
    {
      const std::lock_guard lock(mutex_);
      in_hand_[request.job] = work.cancel;
    }
    to_render_.put(std::move(work));
  }

  void cancel(const std::string& job) {
    const std::lock_guard lock(mutex_);
    const auto found = in_hand_.find(job);
    if (found != in_hand_.end()) found->second.cancel();
  }

  void cancel_all() {
    const std::lock_guard lock(mutex_);
    for (const auto& [job, token] : in_hand_) token.cancel();
  }

  void stop(const std::string& job) {
    const std::lock_guard lock(mutex_);
    to_stop_.insert(job);
  }

  bool stop_asked(const std::string& job) {
    const std::lock_guard lock(mutex_);
    return to_stop_.count(job) > 0;
  }

  void forget(const std::string& job) {
    const std::lock_guard lock(mutex_);
    in_hand_.erase(job);
    to_stop_.erase(job);
  }

  RenderObserver observer_for(const Work& work) {
    RenderObserver observer;
    const auto& request = work.request;
    observer.progress = [this, &request](const std::string& stage, std::int64_t step, std::int64_t steps) {
      events_.send(protocol::encode(protocol::ProgressEvent{request.job, request.token, stage, step, steps}));
    };
    observer.stop_asked = [this, &request] { return stop_asked(request.job); };
    observer.saved = [this, &request](std::int64_t step) {
      events_.send(protocol::encode(protocol::CheckpointEvent{request.job, request.token, step}));
    };
    observer.cancel = work.cancel;
    return observer;
  }

  void render_all() {
    at::set_num_threads(threads_);  // LibTorch's choice is per thread
    try {
      while (auto task = next()) {
        is_work(*task) ? render_next(std::get<Work>(std::move(*task))) : join(std::get<Seat>(std::move(*task)));
        if (maker_.agreement() && !maker_.agreement()->leads()) return follow(*maker_.agreement());
      }
      if (maker_.agreement()) maker_.agreement()->tell({Order::Verb::end, "", 0});
    } catch (const std::exception& e) {
      give_up(e);
    }
  }

  /// Rank 0 of a group lets the others know that there is nothing yet.
  std::optional<Task> next() {
    if (!maker_.agreement()) return to_render_.take();
    for (;;) {
      auto task = to_render_.take_wanted(is_work, Agreement::kBeat);
      if (task || to_render_.closed()) return task;
      maker_.agreement()->tell({});
    }
  }

  void join(Seat seat) {
    try {
      auto group = join_group(seat.request);
      maker_.share(std::move(group), milliseconds(seat.request.deadline_ms));
      rendezvous_ = std::move(seat.rendezvous);
      events_.send(protocol::encode(protocol::RendezvousEvent{seat.request.address, true}));
    } catch (const std::exception& e) {
      in_group_ = false;
      const auto [kind, why] = explain(e);
      events_.fail("", 0, kind, why);
    }
  }

  /// The life of a member that is not rank 0.
  void follow(Agreement& agreement) {
    std::vector<HalfDone> begun;
    std::optional<base::Stopwatch> closing;
    for (;;) {
      const Order order = agreement.hear();
      if (order.verb == Order::Verb::end) break;
      if (order.verb == Order::Verb::wait) {
        if (to_render_.closed() && !closing) closing.emplace();
        if (closing && closing->seconds() > std::chrono::duration<double>(kPatience).count()) return;
        to_render_.wait_for_any(kRest);  // not in a collective, which would keep a GPU busy
      }
      if (order.verb == Order::Verb::render) render(requested(order, agreement));
      if (order.verb == Order::Verb::begin) begin(requested(order, agreement), begun);
      if (order.verb == Order::Verb::finish) finish(half_done(begun, order));
    }
    if (!to_render_.wait_closed(kPatience)) throw Error(ErrorKind::comm, "rank 0 has left the group");
  }

  Work requested(const Order& order, const Agreement& agreement) {
    const milliseconds limit = agreement.deadline() / 2;  // in time for the others, who wait
    auto task = to_render_.take_wanted(
        [&](const Task& one) { return is_work(one) && is_about(std::get<Work>(one).request, order); }, limit);
    if (task) return std::get<Work>(std::move(*task));
    Work unknown;
    unknown.request.job = order.job;
    unknown.request.token = order.token;
    const std::string why = "was not told of the job within " + std::to_string(limit.count()) + " ms";
    unknown.problem = std::make_exception_ptr(Error(ErrorKind::renderer, why));
    return unknown;
  }

  static HalfDone half_done(std::vector<HalfDone>& begun, const Order& order) {
    const auto found = std::find_if(begun.begin(), begun.end(),
                                    [&](const HalfDone& one) { return is_about(one.work.request, order); });
    if (found == begun.end()) throw Error(ErrorKind::internal, "finish: " + order.job + " was not begun here");
    HalfDone half = std::move(*found);
    begun.erase(found);
    return half;
  }

  void render_next(Work work) {
    const auto size = static_cast<std::size_t>(maker_.wave(work.request.settings));
    size > 1 ? render_wave(std::move(work), size) : render(std::move(work));
  }

  /// What all members do next: rank 0 tells, the others have just heard it.
  void tell(Order::Verb verb, const Work& work) {
    if (maker_.agreement() && maker_.agreement()->leads()) {
      maker_.agreement()->tell({verb, work.request.job, work.request.token});
    }
  }

  /// Throws, in a group on all members, where one of them cannot do it or is not to.
  void require(const Work& work, const std::exception_ptr& problem) {
    const auto look = [&] {
      if (problem) std::rethrow_exception(problem);
      work.cancel.throw_if_cancelled();
    };
    maker_.agreement() ? maker_.agreement()->together(look) : look();
  }

  void render(Work work) {
    tell(Order::Verb::render, work);
    try {
      require(work, work.problem);
      Rendered rendered = maker_.render(work.request.settings, work.prepared, kept(work), observer_for(work));
      hand_over(std::move(work), std::move(rendered));
    } catch (const std::exception& e) {
      fail_here(work.request, e);
    }
  }

  /// Whatever waits by the time an expert has done its steps joins, up to `size`.
  void render_wave(Work first, std::size_t size) {
    std::vector<HalfDone> wave;
    begin(std::move(first), wave);
    while (wave.size() < size) {
      auto next = to_render_.take_now(is_work);
      if (!next) break;
      begin(std::get<Work>(std::move(*next)), wave);
    }
    for (HalfDone& one : wave) finish(std::move(one));
  }

  void begin(Work work, std::vector<HalfDone>& wave) {
    tell(Order::Verb::begin, work);
    try {
      require(work, work.problem);
      Begun begun = maker_.begin(work.request.settings, work.prepared, kept(work), observer_for(work));
      wave.push_back({std::move(work), std::move(begun)});
    } catch (const std::exception& e) {
      fail_here(work.request, e);
    }
  }

  void finish(HalfDone half) {
    Work& work = half.work;
    tell(Order::Verb::finish, work);
    try {
      require(work, half.begun.unsaved);
      Rendered rendered =
          maker_.finish(work.request.settings, work.prepared, kept(work), observer_for(work), std::move(half.begun));
      hand_over(std::move(work), std::move(rendered));
    } catch (const std::exception& e) {
      fail_here(work.request, e);
    }
  }

  static Checkpointing kept(const Work& work) { return {work.request.checkpoint, work.request.checkpoint_every}; }

  void hand_over(Work work, Rendered rendered) {
    if (maker_.agreement() && !maker_.agreement()->leads()) {  // rank 0 writes for all
      for (std::string* file : {&work.request.video, &work.request.sheet, &work.request.archive}) file->clear();
    }
    std::exception_ptr lost;  // a video that is done is written, whatever becomes of the group
    try {
      while (!to_write_.wait_empty(Agreement::kBeat)) tell(Order::Verb::wait, {});
    } catch (const Error&) {
      lost = std::current_exception();
    }
    to_write_.put({std::move(work), std::move(rendered)});
    if (lost) std::rethrow_exception(lost);
  }

  void write_all() {
    while (auto finished = to_write_.take()) {
      const auto& request = finished->work.request;
      try {
        observer_for(finished->work).progress("encode", 0, 0);
        const OutputFiles files{request.video, request.sheet, request.archive, request.archive_content, request.crf};
        maker_.write(request.settings, request.spec, files, finished->rendered);
        forget(request.job);
        const auto& frames = finished->rendered.frames_FHW3;
        events_.send(protocol::encode(protocol::DoneEvent{
            request.job, request.token, frames.size(0), frames.size(1), frames.size(2), finished->rendered.resumed_step,
            finished->rendered.timings, finished->rendered.unused_keys, finished->rendered.lora_digests}));
      } catch (const std::exception& e) {
        fail(request, e);
      }
    }
  }

  /// On the thread that renders, from where it was caught: rethrows what the group cannot go on after.
  void fail_here(const protocol::RenderRequest& request, const std::exception& thrown) {
    if (maker_.agreement() && !Agreement::in_step(thrown)) throw;
    fail(request, thrown);
  }

  /// The renderer cannot go on: members may wait for each other, and the communicator is of no use.
  void give_up(const std::exception& thrown) {
    const auto [kind, why] = explain(thrown);
    if (!stopping_.cancelled()) events_.fail("", 0, kind, why);
    broken_ = true;
  }

  void fail(const protocol::RenderRequest& request, const std::exception& thrown) {
    const auto [kind, why] = explain(thrown);
    forget(request.job);
    events_.fail(request.job, request.token, kind, why);
  }

  Events events_;
  base::LineReader requests_;
  Groups groups_;
  std::unique_ptr<comm::Rendezvous> rendezvous_;  // of the group below, which it must outlive
  VideoMaker maker_;
  int threads_;
  std::atomic<bool> in_group_ = false;  // or on the way into one
  std::atomic<bool> broken_ = false;
  base::CancelToken stopping_;
  Handover<Task> to_render_;
  Handover<Finished> to_write_;
  std::mutex mutex_;  // of the two below
  std::map<std::string, base::CancelToken> in_hand_;
  std::set<std::string> to_stop_;
};

}  // namespace

int serve(const ServerOptions& options, int request_fd, int event_fd) {
  try {
    return Server(options, request_fd, event_fd).run();
  } catch (const std::exception& e) {
    const auto [kind, why] = explain(e);
    Events(event_fd).fail("", 0, kind, why);
    return base::traits(kind).exit_code;
  }
}

}  // namespace nightreel::render
