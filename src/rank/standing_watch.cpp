#include "nightreel/rank/standing_watch.h"

#include <algorithm>
#include <utility>

#include "nightreel/base/error.h"
#include "nightreel/base/hash.h"
#include "rank/standing.h"

namespace nightreel::rank {

using std::chrono::milliseconds;

namespace {

constexpr milliseconds kAnswer{200};

}  // namespace

std::vector<std::string> share_of(const std::vector<std::string>& ids, int index, int count) {
  std::vector<std::string> out;
  for (const auto& id : ids) {
    const unsigned long place = std::stoul(base::xxh128_hex(id).substr(0, 8), nullptr, 16);
    if (static_cast<int>(place % static_cast<unsigned long>(count)) == index) out.push_back(id);
  }
  return out;
}

StandingWatch::StandingWatch(std::unique_ptr<queue::JobQueue> jobs, base::CancelToken stop, const OutputFolder& out,
                             const std::string& host, Share share, const base::Logger& log)
    : jobs_(std::move(jobs)), stop_(std::move(stop)), out_(out), share_(std::move(share)), log_(log) {
  thread_ = std::thread([this, host] { watch(host); });
}

StandingWatch::~StandingWatch() {
  {
    const std::lock_guard lock(mutex_);
    over_ = true;
  }
  stop_.cancel();
  wake_.notify_all();
  thread_.join();
}

bool StandingWatch::content() {
  std::unique_lock lock(mutex_);
  if (!answer_) {
    asked_ = true;
    wake_.notify_all();
    wake_.wait_for(lock, kAnswer, [&] { return answer_.has_value(); });
  }
  return std::exchange(answer_, std::nullopt).value_or(false);
}

void StandingWatch::watch(const std::string& host) {
  Standing standing(out_, *jobs_, {host}, log_);
  for (bool first = true;; first = false) {
    bool asked = false;
    {
      std::unique_lock lock(mutex_);
      if (!first) wake_.wait(lock, [&] { return asked_ || over_; });
      if (over_) return;
      asked = std::exchange(asked_, false);
    }
    const bool well = looks_well(standing);
    const std::lock_guard lock(mutex_);
    if (asked) answer_ = well;
    wake_.notify_all();
  }
}

bool StandingWatch::looks_well(Standing& standing) {
  try {
    return standing.look(share_(*jobs_), [&] { return stop_.cancelled(); }) == Stands::all;
  } catch (const base::Error& e) {
    if (e.what() != told_) log_.warn("standing", std::string("what stands in OUT cannot be looked at: ") + e.what());
    told_ = e.what();
    // The queue is asked again; a disk that gives nothing back is judged at the end of the run.
    return e.kind() == base::ErrorKind::storage;
  }
}

}  // namespace nightreel::rank
