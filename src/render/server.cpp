#include "nightreel/render/server.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <optional>
#include <set>
#include <thread>

#include "nightreel/base/clock.h"
#include "nightreel/base/error.h"
#include "nightreel/base/pipe.h"
#include "render/events.h"
#include "render/group.h"
#include "render/probe.h"

namespace nightreel::render {
namespace {

using base::Error;
using base::ErrorKind;
using std::chrono::milliseconds;

// A queue between two threads that can be closed.
template <typename Item>
class Handover {
 public:
  void put(Item item) {
    const std::lock_guard lock(mutex_);
    items_.push_back(std::move(item));
    wake_.notify_all();
  }
  std::optional<Item> take() {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [&] { return closed_ || !items_.empty(); });
    if (items_.empty()) return std::nullopt;
    Item item = std::move(items_.front());
    items_.pop_front();
    wake_.notify_all();
    return item;
  }
  /// Nothing where there is none now.
  std::optional<Item> take_now() {
    const std::lock_guard lock(mutex_);
    if (items_.empty()) return std::nullopt;
    Item item = std::move(items_.front());
    items_.pop_front();
    wake_.notify_all();
    return item;
  }
  void close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    wake_.notify_all();
  }
  /// Waits while `limit` items are not taken: decoded videos are large.
  void wait_below(std::size_t limit) {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [&] { return closed_ || items_.size() < limit; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Item> items_;
  bool closed_ = false;
};

struct Work {
  protocol::RenderRequest request;
  Prepared prepared;
  base::CancelToken cancel;
};

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
  Server(const MakerOptions& options, int request_fd, int event_fd)
      : events_(event_fd), requests_(request_fd, protocol::kMaxLine), maker_(options), threads_(options.threads) {}

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
    return 0;
  }

 private:
  void read_all() {
    std::string line;
    for (;;) {
      const auto status = requests_.next(line, milliseconds(200));
      if (status == base::LineReader::Status::closed || events_.lost()) return;
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
    if (message.type == "probe" || message.type == "group") answer_probe(message, groups_, events_);
  }

  void accept(const protocol::RenderRequest& request) {
    try {
      Work work{request, maker_.prepare(request.settings), {}};
      {
        const std::lock_guard lock(mutex_);
        in_hand_[request.job] = work.cancel;
      }
      to_render_.put(std::move(work));
    } catch (const std::exception& e) {
      const auto [kind, why] = explain(e);
      events_.fail(request.job, request.token, kind, why);
    }
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
    while (auto work = to_render_.take()) {
      const auto size = static_cast<std::size_t>(maker_.wave(work->request.settings));
      size > 1 ? render_wave(std::move(*work), size) : render(std::move(*work));
    }
  }

  void render(Work work) {
    try {
      work.cancel.throw_if_cancelled();
      Rendered rendered = maker_.render(work.request.settings, work.prepared, kept(work), observer_for(work));
      hand_over(std::move(work), std::move(rendered));
    } catch (const std::exception& e) {
      fail(work.request, e);
    }
  }

  /// Whatever waits by the time an expert has done its steps joins, up to `size`.
  void render_wave(Work first, std::size_t size) {
    std::vector<HalfDone> wave;
    begin(std::move(first), wave);
    while (wave.size() < size) {
      auto next = to_render_.take_now();
      if (!next) break;
      begin(std::move(*next), wave);
    }
    for (HalfDone& one : wave) finish(std::move(one));
  }

  void begin(Work work, std::vector<HalfDone>& wave) {
    try {
      work.cancel.throw_if_cancelled();
      Begun begun = maker_.begin(work.request.settings, work.prepared, kept(work), observer_for(work));
      wave.push_back({std::move(work), std::move(begun)});
    } catch (const std::exception& e) {
      fail(work.request, e);
    }
  }

  void finish(HalfDone half) {
    Work& work = half.work;
    try {
      work.cancel.throw_if_cancelled();
      Rendered rendered =
          maker_.finish(work.request.settings, work.prepared, kept(work), observer_for(work), std::move(half.begun));
      hand_over(std::move(work), std::move(rendered));
    } catch (const std::exception& e) {
      fail(work.request, e);
    }
  }

  static Checkpointing kept(const Work& work) { return {work.request.checkpoint, work.request.checkpoint_every}; }

  void hand_over(Work work, Rendered rendered) {
    to_write_.wait_below(1);
    to_write_.put({std::move(work), std::move(rendered)});
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

  void fail(const protocol::RenderRequest& request, const std::exception& thrown) {
    const auto [kind, why] = explain(thrown);
    forget(request.job);
    events_.fail(request.job, request.token, kind, why);
  }

  Events events_;
  base::LineReader requests_;
  VideoMaker maker_;
  int threads_;
  Groups groups_;
  base::CancelToken stopping_;
  Handover<Work> to_render_;
  Handover<Finished> to_write_;
  std::mutex mutex_;  // of the two below
  std::map<std::string, base::CancelToken> in_hand_;
  std::set<std::string> to_stop_;
};

}  // namespace

int serve(const MakerOptions& options, int request_fd, int event_fd) {
  try {
    return Server(options, request_fd, event_fd).run();
  } catch (const std::exception& e) {
    const auto [kind, why] = explain(e);
    Events(event_fd).fail("", 0, kind, why);
    return base::traits(kind).exit_code;
  }
}

}  // namespace nightreel::render
