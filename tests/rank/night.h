// A night for tests: a Redis, an OUT, fake renderers, and the real drain loop over them. Test code of the rank layer.
#pragma once

#include <doctest/doctest.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <utility>

#include "nightreel/base/file.h"
#include "nightreel/base/json.h"
#include "nightreel/job/recipe.h"
#include "nightreel/memory/model.h"
#include "nightreel/queue/inbox_entry.h"
#include "nightreel/queue/redis_queue.h"
#include "nightreel/queue/submit_jobs.h"
#include "nightreel/rank/drain.h"
#include "nightreel/rank/renderer.h"
#include "queue/test_server.h"
#include "rank/coming_up.h"
#include "rank/list_watch.h"
#include "support/comes.h"
#include "support/error.h"
#include "support/temp_folder.h"

namespace nightreel::test {

using namespace std::chrono_literals;

/// The queue in Redis, and what happens between its answer to a claim and the rank's next step.
class WatchedQueue : public queue::RedisQueue {
 public:
  using RedisQueue::RedisQueue;
  queue::ClaimResult claim(const queue::ClaimRequest& request) override {
    auto claimed = RedisQueue::claim(request);
    if (claimed.lease && on_claim) std::exchange(on_claim, nullptr)();
    return claimed;
  }
  queue::Fence begin_publish(const queue::LeaseRef& ref) override {
    try {
      return RedisQueue::begin_publish(ref);
    } catch (const queue::RedisError&) {
      ++unanswered;
      throw;
    }
  }
  std::function<void()> on_claim;
  std::atomic<int> unanswered{0};  // videos that could not be published
};

/// What runs out only when a test wants it to: no machine is so busy that it does so by itself.
struct Pace {
  std::chrono::milliseconds lease = 60s;
  std::chrono::milliseconds renewal = 200ms;
  double loading_limit_s = 60;
  double silence_limit_s = 60;
  std::chrono::milliseconds patience = 10s;  // of the queue
};

/// One rank: its own connections, lease keeper and renderer.
class Rank {
 public:
  Rank(const TestServer& server, const std::string& folder, const Pace& pace, int number)
      : server_(server),
        out_(folder + "/out"),
        keeper_(renewing(server, pace.lease), pace.renewal, stop_, base::Logger()),
        renderer(
            {{FAKE_RENDERER, folder}, folder + "/renderer.log", pace.loading_limit_s, pace.silence_limit_s, nullptr},
            base::Logger()),
        jobs(server.queue_options(pace.lease)) {
    number_ = number;
    options.out = out_.root();
    jobs.set_patience({pace.patience, {}, true});
    out_.make();
    card_ = card::read(std::string(std::getenv("NIGHTREEL_SOURCE_DIR")) + "/models/shapes");
    recipe_ = job::recipe_for(card_, job::RecipeChoice::automatic);
    limits.stages = {3600, 3600, 3600, 3600, 3600, 3600};
    limits.queue_away_s = 60;
    limits.first_pause_s = 0.02;
    while (!come_up()) {
    }
  }
  report::RankSummary drain() {
    queue::ClaimRequest who;
    who.out = options.out;
    who.model = "m1";
    who.run = "run-1";
    who.host = "node";
    who.rank = number_;
    Maker maker;
    maker.renderer = ready_;
    maker.ranks = {{"node", "cpu", ""}};
    maker.overwrite = options.overwrite;
    report::RankSummary summary;
    queue::InboxTaker inbox(inbox_parts());
    Drain({options, card_, recipe_, out_, who, jobs, keeper_, renderer, Publisher(out_, maker), signals,
           [this] { hurried = true; }, base::Logger(), limits, memory, &inbox, list, list != nullptr || listed, content,
           past})
        .run(summary);
    return summary;
  }
  /// A list of what `night` has added, for list: as the first rank of a run watches over its files.
  std::unique_ptr<rank::ListWatch> watch(const std::vector<job::Job>& added) {
    std::vector<queue::Submission> mine;
    for (const auto& job : added) mine.push_back(queue::submission_of(job));
    const auto stands = [this](const queue::Submission& job) {
      return base::exists(out_.final_names(job.id, false).video);
    };
    auto watch = std::make_unique<rank::ListWatch>(rank::OwnList(std::move(mine), "run-1", 3, stands),
                                                   queue::BringBack{"run-1", out_.root(), "m1", ""}, base::Logger());
    watch->begin(jobs);
    list = watch.get();
    return watch;
  }

 private:
  queue::InboxParts inbox_parts() const {
    queue::InboxParts parts;
    auto inbox = std::make_unique<queue::RedisQueue>(server_.queue_options());
    inbox->set_patience({10s, parts.stop, true});
    parts.queue = std::move(inbox);
    parts.validate = [](const std::string& entry) { return queue::read_inbox_entry(entry, {"", "", false}); };
    parts.out = options.out;
    parts.interval = 100ms;
    return parts;
  }
  /// A short loading limit is about later starts: a slow first one is made again.
  bool come_up() {
    try {
      renderer.start();
      ready_ = rank::come_up(
          renderer, {}, [] { return false; }, base::Logger());
      return true;
    } catch (const base::Error&) {
      if (++failed_starts_ == 5) throw;
      return false;
    }
  }
  std::unique_ptr<queue::RedisQueue> renewing(const TestServer& server, std::chrono::milliseconds lease) const {
    auto queue = std::make_unique<queue::RedisQueue>(server.queue_options(lease));
    queue->set_patience({lease / 3, stop_});
    return queue;
  }

  const TestServer& server_;
  rank::OutputFolder out_;
  base::CancelToken stop_;
  queue::LeaseKeeper keeper_;
  card::Card card_;
  job::Recipe recipe_;
  protocol::ReadyEvent ready_;
  int number_ = 0;
  int failed_starts_ = 0;

 public:
  using Drain = rank::Drain;
  using Maker = rank::Maker;
  using Publisher = rank::Publisher;
  rank::RunOptions options;
  rank::Renderer renderer;
  rank::Signals signals{std::chrono::hours(1)};
  rank::DrainLimits limits;
  memory::DeviceMemory memory;    // none: everything fits
  std::function<bool()> content;  // none: always
  rank::PastTimes past;
  bool hurried = false;
  rank::ListWatch* list = nullptr;
  bool listed = false;  // another rank watches over the list
  WatchedQueue jobs;
};

struct Night : Pace {
  TempFolder folder;
  TestServer server;
  queue::RedisQueue jobs{server.queue_options()};
  queue::Redis raw{server.options()};
  std::vector<job::Job> added;

  void add(const std::string& id, const std::string& prompt, base::Json more = base::Json::object()) {
    base::Json spec{{"id", id},     {"prompt", prompt}, {"num_inference_steps", 4},
                    {"height", 16}, {"width", 16},      {"num_frames", 5}};
    spec.update(more);
    added.push_back(job::parse_job(spec.dump(), {"/", ""}));
    queue::submit_jobs(jobs, {added.back()}, {});
  }
  Rank rank(int number = 0) { return {server, folder.path(), *this, number}; }
  report::RankSummary drain() { return rank().drain(); }

  queue::JobView view(const std::string& id) { return jobs.lookup({id}).at(0); }
  std::string field(const std::string& id, const std::string& name) {
    return raw.command({"HGET", "nightreel:{default}:job:" + id, name}).text_or_empty();
  }
  /// The events of a job, each with its time in ms and its fields one after the other.
  std::vector<std::string> told(const std::string& id) {
    std::vector<std::string> out;
    const queue::Reply events = raw.command({"XRANGE", "nightreel:{default}:events", "-", "+"});
    for (const auto& entry : events.array()) {
      std::string text = entry.at(0).text() + " ";
      for (const auto& field : entry.at(1).array()) text += field.text() + " ";
      if (contains(text, "id " + id + " ")) out.push_back(text);
    }
    return out;
  }
  std::string video(const std::string& id) const { return folder / ("out/videos/" + id + ".mp4"); }
  bool has_video(const std::string& id) const { return std::filesystem::exists(video(id)); }
  /// Files below OUT's videos and archive that are not whole sets' (a hidden name is an attempt's).
  std::size_t litter() const {
    std::size_t count = 0;
    for (const char* sub : {"out/videos", "out/archive"}) {
      for (const auto& entry : std::filesystem::directory_iterator(folder / sub)) {
        if (entry.path().filename().string()[0] == '.') ++count;
      }
    }
    return count;
  }
  /// Done, with its video there; used up so many attempts.
  void check_done(const std::string& id, std::int64_t attempts) {
    CAPTURE(id);
    CHECK(view(id).state == queue::JobState::done);
    CHECK(view(id).attempts == attempts);
    CHECK(has_video(id));
  }
  bool starts(const std::string& id) {
    return comes([&] { return view(id).state == queue::JobState::running; });
  }
};

}  // namespace nightreel::test
