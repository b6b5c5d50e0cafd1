#include "rank/progress_display.h"

#include <utility>

#include "nightreel/base/error.h"

namespace nightreel::rank {
namespace {

constexpr const char* kLineUp = "\x1b[1A";
constexpr const char* kClearBelow = "\r\x1b[J";

}  // namespace

ProgressDisplay::ProgressDisplay(std::unique_ptr<queue::JobQueue> jobs, std::string run, int ranks, ProgressStyle style,
                                 base::Logger log)
    : jobs_(std::move(jobs)), run_(std::move(run)), ranks_(ranks), style_(std::move(style)), log_(std::move(log)) {
  thread_ = std::thread([this] { loop(); });
}

ProgressDisplay::~ProgressDisplay() {
  {
    const std::lock_guard lock(mutex_);
    over_ = true;
    wake_.notify_all();
  }
  thread_.join();
}

void ProgressDisplay::loop() {
  std::unique_lock lock(mutex_);
  while (!over_) {
    lock.unlock();
    show();
    lock.lock();
    wake_.wait_for(lock, style_.interval, [this] { return over_; });
  }
  if (style_.draw) show();
}

void ProgressDisplay::show() {
  try {
    const queue::Counts counts = jobs_->counts(run_);
    pace_.look(counts, queue::Clock::now());
    if (!style_.draw) return log_.info("progress", queue::totals_line(counts, pace_.seconds_left()));
    std::string text;
    for (std::size_t i = 0; i < drawn_; ++i) text += kLineUp;
    text += kClearBelow;
    const auto block =
        queue::live_block(counts, jobs_->list(queue::JobState::running), run_, ranks_, pace_.seconds_left());
    for (const std::string& line : block) text += line + "\n";
    style_.draw(text);
    drawn_ = block.size();
  } catch (const base::Error& e) {
    log_.debug("progress", e.what());
  }
}

}  // namespace nightreel::rank
