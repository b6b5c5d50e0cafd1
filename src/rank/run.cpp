#include "nightreel/rank/run.h"

#include <algorithm>
#include <filesystem>
#include <thread>
#include <utility>

#include "nightreel/base/clock.h"
#include "nightreel/base/error.h"
#include "nightreel/base/random.h"
#include "nightreel/cluster/groups.h"
#include "nightreel/cluster/launch_check.h"
#include "nightreel/cluster/shared_folder.h"
#include "nightreel/memory/model.h"
#include "nightreel/queue/redis_queue.h"
#include "nightreel/queue/submit_jobs.h"
#include "nightreel/rank/judgement.h"
#include "rank/kept.h"
#include "rank/last_look.h"
#include "rank/least_memory.h"
#include "rank/list_watch.h"
#include "rank/plan.h"
#include "rank/progress_display.h"
#include "rank/rendering.h"
#include "rank/startup.h"

namespace nightreel::rank {
namespace {

using base::Error;
using base::ErrorKind;

constexpr std::chrono::milliseconds kLeaveTogether{2000};
constexpr double kTendList_s = 0.3;
constexpr int kStoppedEarly = 75;
constexpr double kReadAll_s = 86400;  // what ranks that died have not read
constexpr double kLastLook_s = 20;    // others wait meanwhile

// Everything between the world's start and its end.
class Run {
 public:
  Run(const RunOptions& options, const Plan& plan, Signals& signals)
      : options_(options), plan_(plan), signals_(signals), world_(kWorldDeadline), out_(options.out) {
    for (const auto& job : plan.jobs) ids_.push_back(job.id);
  }

  int operator()() {
    try {
      begin();
      return work();
    } catch (const Error& e) {
      return leave(e);
    } catch (const std::exception& e) {
      return leave(Error(ErrorKind::internal, std::string("internal error: ") + e.what()));
    }
  }

 private:
  void begin() {
    run_ = world_.broadcast(base::iso_time(started_ms_).substr(0, 19) + "-" + base::random_hex(3), 0, kWorldDeadline,
                            "the run's name");
    std::replace(run_.begin(), run_.end(), ':', '-');
    cluster::check_shared_folder(world_, options_.out, std::chrono::seconds(10), kWorldDeadline);
    do_together(world_, "the output folder", [&] {
      out_.make();
      base::make_folders(out_.log_folder(run_));
      const std::string rank = std::to_string(world_.rank());
      out_.check_writable();
      out_.check_publishing();
      log_ = base::Logger::to_stderr_and_file(options_.log_format, "rank " + rank,
                                              out_.log_folder(run_) + "/rank-" + rank + ".jsonl");
      if (options_.draw) log_ = log_.only_errors();
    });
    if (world_.rank() == 0) {
      if (const auto swept = out_.sweep(std::chrono::hours(24)); swept > 0) {
        log_.info("sweep", std::to_string(swept) + " temporary files of killed processes removed");
      }
    }
    const Device device = agree_devices(world_, options_);
    device_ = device.name;
    sharing_ = device.sharing;
    check_rank_counts(world_, options_);
    log_.info("start", "on " + world_.place().host + ", device " + device_);
  }

  int work() {
    std::optional<queue::PrivateServer> server;
    const auto addresses = agree_redis(world_, options_, server, log_);
    // No other run can be on a private server: what one seems to hold there is a dead one's, and comes free.
    const bool own = world_.broadcast(server ? "own" : "", 0, kWorldDeadline, "the Redis") == "own";
    options_.wait_for_all = options_.wait_for_all || own;
    queue::RedisQueueOptions wanted = queue_options(options_, addresses);
    if (world_.rank() == 0) wanted.redis.log = log_;  // what is to be warned of at the server is said once
    queue::RedisQueue jobs(wanted);
    check_queue(world_, jobs, options_, own);
    // What takes minutes comes last: weights.
    bool together = loads_together();
    Renderer renderer(renderer_command(world_, options_, device_, out_.log_folder(run_), planned_group(), together),
                      log_);
    do_together(world_, "the renderers' start", [&] { renderer.start(); });
    if (together) together = load_together(world_, renderer, device_ != "cpu", of_stages().load, log_);
    Loaded loaded = agree_ready(world_, renderer, of_stages().load, together,
                                options_.min_ranks.value_or(world_.size()), signals_, log_);
    plan_as_equals(world_, loaded);
    // With one rank a video no night depends on what only groups need.
    if (options_.ranks_per_video > 1) check_groups_meet(world_, renderer, device_ != "cpu", present_group(loaded.up));
    if (loaded.ready) log_.info("loaded", loading_text(*loaded.ready));
    if (loaded.ready) log_plan(log_, *loaded.ready, plan_.jobs, plan_.card, plan_.recipe);
    add_jobs(jobs, loaded, least_memory(world_, loaded.ready));

    report::RankSummary mine;
    mine.rank = world_.rank();
    mine.host = world_.place().host;
    mine.device = device_;
    render({options_, plan_, run_, device_, world_, out_, signals_, log_, addresses, jobs, loaded, renderer,
            list_ ? &*list_ : nullptr},
           mine);
    const int code = end(jobs, loaded.digest, mine);
    server.reset();
    return code;
  }

  bool loads_together() const {
    if (world_.size() == 1 || options_.load == "alone") return false;
    if (options_.load == "auto" && device_ == "cpu") return false;
    if (sharing_.empty()) return true;
    if (options_.load == "together" && world_.rank() == 0) {
      log_.warn("load-alone", "every renderer reads all weights itself: " + sharing_ + ", so they cannot meet");
    }
    return false;
  }

  std::vector<int> present_group(const std::vector<bool>& up) const {
    std::vector<int> present;
    for (const int rank : planned_group()) {
      if (up[static_cast<std::size_t>(rank)]) present.push_back(rank);
    }
    return up[static_cast<std::size_t>(world_.rank())] ? present : std::vector<int>{world_.rank()};
  }

  std::vector<int> planned_group() const {
    for (const auto& group : cluster::group_ranks(world_.places(), options_.ranks_per_video)) {
      if (std::find(group.begin(), group.end(), world_.rank()) != group.end()) return group;
    }
    return {world_.rank()};
  }

  void render(const RenderingParts& parts, report::RankSummary& mine) const {
    const auto display = show_progress(parts.addresses);
    Rendering(parts).run(mine);
  }

  // Not even begun, or stopped by an error, which rank 0 puts into RUN.json. Of ranks that come here together with the
  // same words one shows them, before any of them ends: mpirun then ends those that are left. Where they do not come
  // together each shows its own, and MPI is left as it is.
  int leave(const Error& error) {
    const int code = base::traits(error.kind()).exit_code;
    const std::string why = error.what();
    bool mine = true;
    try {
      if (world_.rank() == 0 && !run_.empty() && std::filesystem::exists(out_.log_folder(run_))) {
        report::RunSummary summary = new_summary("");
        summary.error = why;
        summary.exit_code = code;
        write(summary);
      }
      const auto all = world_.all_gather(why, kLeaveTogether, "the error");
      mine = std::find(all.begin(), all.end(), why) - all.begin() == world_.rank();
      if (std::exchange(mine, false)) options_.show(error);
      world_.agree_exit_code(code, kLeaveTogether);
    } catch (const std::exception& e) {
      if (mine) options_.show(error);
      log_.warn("leave", e.what());
      world_.abandon();
    }
    return code;
  }

  // A run whose summary cannot be written has ended all the same. Where it stands, for people.
  std::string write(report::RunSummary& summary) const {
    try {
      base::replace_file(out_.run_file(run_), report::to_json(summary) + "\n");
      return out_.run_file(run_);
    } catch (const Error& e) {
      log_.error("summary", e.what());
      summary.exit_code = cluster::worst_exit_code({summary.exit_code, base::traits(e.kind()).exit_code});
      return "its summary could not be written";
    }
  }

  StageLimits of_stages() const { return stage_limits(device_ != "cpu", options_.stage_limits); }

  report::RunSummary new_summary(const std::string& digest) const {
    report::RunSummary summary;
    summary.run = run_;
    summary.launcher_job = cluster::launcher_job_id(cluster::process_environment());
    summary.started_ms = started_ms_;
    summary.ended_ms = base::now_ms();
    summary.model_digest = digest;
    return summary;
  }

  void add_jobs(queue::RedisQueue& jobs, const Loaded& loaded, const memory::DeviceMemory& memory) {
    std::string usage;
    std::optional<std::string> problem;
    if (world_.rank() == 0) {
      try {
        submit(jobs, plan_, options_, loaded.digest, memory);
        make_again(jobs, options_.again, "--again", log_);
        look_for_kept(jobs, loaded);
        watch_over_list(jobs, loaded.digest);
      } catch (const Error& e) {
        (base::traits(e.kind()).exit_code == 2 ? usage : problem.emplace()) = e.what();
      }
    }
    world_.throw_together(problem, kWorldDeadline, "adding the jobs");
    throw_usage_together(world_, usage, "the jobs");
  }

  // Of the first rank: what it has added is not forgotten, whatever becomes of the queue.
  void watch_over_list(queue::JobQueue& jobs, const std::string& digest) {
    std::vector<queue::Submission> mine;
    for (const auto& job : plan_.jobs) mine.push_back(queue::submission_of(job));
    const auto stands = [this](const queue::Submission& job) {
      try {
        return Publisher(out_, Maker()).standing(job.id, job.hash).has_value();
      } catch (const Error&) {
        return false;  // something else stands there
      }
    };
    list_.emplace(OwnList(std::move(mine), run_, options_.max_attempts, stands),
                  queue::BringBack{run_, options_.out, digest, ""}, log_);
    list_->begin(jobs);
  }

  // Finished videos are kept whatever made them; only, nobody shall take them for this run's.
  void look_for_kept(queue::RedisQueue& jobs, const Loaded& loaded) {
    Making making = making_of(loaded.ready.value_or(protocol::ReadyEvent()));
    making.model_digest = loaded.digest;
    kept_ = made_otherwise(plan_, out_, making);
    const auto is_again = [&](const Kept& one) {
      return std::count(options_.again.begin(), options_.again.end(), one.id) > 0;
    };
    kept_.erase(std::remove_if(kept_.begin(), kept_.end(), is_again), kept_.end());
    if (kept_.empty()) return;
    if (options_.overwrite) {
      std::vector<std::string> ids;
      for (const Kept& one : std::exchange(kept_, {})) ids.push_back(one.id);
      return make_again(jobs, ids, "--overwrite", log_);
    }
    log_.warn("kept", kept_line(kept_));
    if (options_.draw) options_.draw("kept: " + kept_line(kept_) + "\n");
    for (const Kept& one : kept_) log_.debug("kept", one.id + ": differs in " + one.difference);
  }

  std::unique_ptr<ProgressDisplay> show_progress(const std::vector<queue::RedisAddress>& addresses) const {
    if (world_.rank() != 0) return nullptr;
    ProgressStyle style;
    style.draw = options_.draw;
    if (style.draw) style.interval = std::chrono::milliseconds(500);
    auto jobs = std::make_unique<queue::RedisQueue>(queue_options(options_, addresses));
    jobs->set_patience({std::chrono::milliseconds(300), {}, false});
    return std::make_unique<ProgressDisplay>(std::move(jobs), run_, world_.size(), style, log_);
  }

  // Waits for the others without taking their time: an idle rank must not end the run for them. Nothing where this
  // rank was told to stop and others do not come: they may be gone.
  std::optional<std::vector<std::string>> everybodys(queue::JobQueue& jobs, const report::RankSummary& mine) {
    auto exchange = world_.start_exchange(report::to_json(mine));
    std::optional<base::Stopwatch> stopping;
    base::Stopwatch since_list;
    for (;;) {
      if (auto all = exchange.test()) return all;
      if (signals_.asked() == Ask::stop && !stopping) stopping.emplace();
      if (stopping && stopping->seconds() > LastLook::kWhenStopped_s) return std::nullopt;
      if (since_list.seconds() > kTendList_s) {
        // What the others find at its end is this rank's word (DrainParts::listed).
        if (list_ && signals_.asked() != Ask::stop) list_->tend(jobs);
        since_list = base::Stopwatch();
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }

  int end(queue::RedisQueue& jobs, const std::string& digest, const report::RankSummary& mine) {
    // Most of it while others still render: at the end they wait for no long reading.
    const auto ids = [&] { return answered_for(jobs, options_, plan_); };
    LastLook last_look(out_, jobs, world_.place().host, signals_, log_);
    if (world_.rank() == 0 && signals_.asked() == Ask::go_on) last_look(ids, kReadAll_s);
    const auto all = everybodys(jobs, mine);
    if (signals_.asked() != Ask::stop) jobs.set_patience(queue::Patience());
    report::RunSummary summary = new_summary(digest);
    if (world_.rank() == 0) {
      if (all) {
        for (const auto& text : *all) summary.ranks.push_back(report::rank_summary(text));
      } else {
        summary.ranks.push_back(mine);
      }
      const auto amiss = all ? last_look(ids, kLastLook_s, kLastLook_s) : std::nullopt;
      const auto own = [this](const queue::JobView& now) { return list_ ? list_->word(now) : now; };
      judge(jobs, ids_, options_.failed_ok, summary, own);
      add_to(summary, amiss);
      if (!all) summary.exit_code = kStoppedEarly;
      const std::string where = write(summary);
      log_.info("end", "exit code " + std::to_string(summary.exit_code) + ", " + where);
    }
    if (all) return world_.agree_exit_code(summary.exit_code, kWorldDeadline);
    world_.abandon();
    return kStoppedEarly;
  }

  void add_to(report::RunSummary& summary, const std::optional<Error>& amiss) const {
    for (const Kept& one : kept_) {
      if (one.model_digest == summary.model_digest) continue;
      for (auto& job : summary.jobs) {
        if (job.id == one.id && job.state == "done") job.model_digest = one.model_digest;
      }
    }
    const auto waits = [](const report::JobResult& job) { return job.state == "pending" || job.state == "delayed"; };
    if (std::any_of(summary.jobs.begin(), summary.jobs.end(), waits)) {
      summary.exit_code = cluster::worst_exit_code({summary.exit_code, kStoppedEarly});
    }
    if (!amiss) return;
    if (summary.error.empty()) summary.error = amiss->what();
    summary.exit_code = cluster::worst_exit_code({summary.exit_code, base::traits(amiss->kind()).exit_code});
  }

  RunOptions options_;
  const Plan& plan_;
  std::vector<std::string> ids_;
  Signals& signals_;
  const std::int64_t started_ms_ = base::now_ms();
  cluster::World world_;
  OutputFolder out_;
  std::string run_;
  std::vector<Kept> kept_;  // finished videos that this run would have made otherwise
  std::string device_;
  std::string sharing_;  // see Device
  base::Logger log_;
  std::optional<ListWatch> list_;  // the first rank's
};

}  // namespace

int run(const RunOptions& given) {
  RunOptions options = given;
  options.out = std::filesystem::absolute(given.out).lexically_normal().string();
  Signals signals;  // before all else: mpirun may forward a signal at once
  const Plan plan = make_plan(options);
  return Run(options, plan, signals)();
}

}  // namespace nightreel::rank
