// The scripts against a model of the queue that fits on two pages: random operations, equal results, and invariants
// that a reader of the keys alone can check. NIGHTREEL_MODEL_OPERATIONS and NIGHTREEL_MODEL_SEED make a longer walk, or
// another one (docs/reliability.md).
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <random>
#include <set>

#include "nightreel/base/error.h"
#include "queue/test_server.h"

using namespace nightreel;
using namespace nightreel::queue;
using test::a_job;

namespace {

constexpr std::int64_t kOperations = 20'000;
constexpr std::int64_t kSeed = 20261123;
const std::string kPrefix = "nightreel:{default}:";
constexpr int kRunLimit = 3;
constexpr std::int64_t kMostInARow = 16;
const std::vector<std::string> kSets{"", "x", "y"};
const std::vector<std::string> kRuns{"run-1", "run-2"};

std::int64_t setting(const char* name, std::int64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::stoll(text);
}

struct ModelJob {
  JobState state = JobState::pending;
  std::string identity, out, lora_set, run;
  std::int64_t priority = 0, seq = 0, attempts = 0, own_limit = 0, limit = 0;
  std::string token;
  bool cancel = false;
  std::string ended_token;  // of the last lease that ended by complete, fail or release, and how
  char ended_by = ' ';
  JobState ended_state = JobState::unknown;
};

class Model {
 public:
  std::map<std::string, ModelJob> jobs;
  std::string bound;

  Submitted submit(const Submission& job, const SubmitOptions& options) {
    const auto found = jobs.find(job.id);
    Submitted what = Submitted::added;
    if (found != jobs.end()) {
      const ModelJob& old = found->second;
      if (old.identity != job.identity) {
        if (!options.overwrite) return Submitted::conflict;
        what = Submitted::replaced;
      } else if (old.state == JobState::done && !options.out.empty() && old.out != options.out) {
        what = Submitted::again;
      } else {
        return Submitted::unchanged;
      }
    }
    ModelJob fresh;
    fresh.identity = job.identity;
    fresh.out = options.out;
    fresh.priority = job.priority;
    fresh.lora_set = job.lora_set;
    fresh.own_limit = job.max_attempts;
    fresh.seq = ++seq_;
    jobs[job.id] = fresh;
    return what;
  }

  // The id that a claim must give; empty: none.
  std::string next(const std::string& set, std::int64_t in_a_row, const std::string& except) const {
    const bool prefers = in_a_row < kMostInARow;
    const auto rank_of = [&](const ModelJob& job) {
      return std::tuple(-job.priority, prefers && job.lora_set == set ? 0 : 1, job.seq);
    };
    std::string best;
    for (const auto& [id, job] : jobs) {
      if (job.state != JobState::pending || id == except) continue;
      if (best.empty() || rank_of(job) < rank_of(jobs.at(best))) best = id;
    }
    const auto excepted = jobs.find(except);
    const bool waits = excepted != jobs.end() && excepted->second.state == JobState::pending;
    return best.empty() && waits ? except : best;
  }

  void claimed(const Lease& lease, const ClaimRequest& request) {
    ModelJob& job = jobs.at(lease.ref.id);
    job.state = JobState::running;
    job.token = lease.ref.token;
    job.limit = job.own_limit > 0 ? job.own_limit : kRunLimit;
    ++job.attempts;
    job.out = request.out;
    job.run = request.run;
    bound = request.model;
  }

  bool holds(const LeaseRef& ref) const {
    const auto found = jobs.find(ref.id);
    return found != jobs.end() && found->second.state == JobState::running && found->second.token == ref.token;
  }

  // What a repeated end of the same lease by the same means must say.
  std::optional<JobState> ended_before(const LeaseRef& ref, char how) const {
    const auto found = jobs.find(ref.id);
    if (found == jobs.end() || found->second.ended_token != ref.token || found->second.ended_by != how) return {};
    return found->second.ended_state;
  }

  std::optional<JobState> end(const LeaseRef& ref, char how, bool permanent) {
    if (!holds(ref)) return ended_before(ref, how);
    ModelJob& job = jobs.at(ref.id);
    if (how == 'c') job.state = JobState::done;
    if (how == 'r') {
      --job.attempts;
      job.state = job.cancel ? JobState::cancelled : JobState::pending;
    }
    if (how == 'f') {
      const bool last = permanent || job.attempts >= job.limit;
      job.state = job.cancel ? JobState::cancelled : last ? JobState::failed : JobState::delayed;
    }
    if (job.state != JobState::pending && job.state != JobState::delayed) job.cancel = false;
    job.ended_token = ref.token;
    job.ended_by = how;
    job.ended_state = job.state;
    unbind();
    return job.state;
  }

  void lost(const std::string& id) {
    ModelJob& job = jobs.at(id);
    job.state = job.cancel ? JobState::cancelled : job.attempts >= job.limit ? JobState::failed : JobState::pending;
    if (job.state == JobState::cancelled) job.cancel = false;
    unbind();
  }

  Cancelled cancel(const std::string& id) {
    const auto found = jobs.find(id);
    if (found == jobs.end()) return Cancelled::unknown;
    ModelJob& job = found->second;
    if (job.state == JobState::running) {
      job.cancel = true;
      return Cancelled::asked;
    }
    if (job.state != JobState::pending && job.state != JobState::delayed) return Cancelled::ended_before;
    job.state = JobState::cancelled;
    unbind();
    return Cancelled::now;
  }

  Retried retry(const std::string& id) {
    const auto found = jobs.find(id);
    if (found == jobs.end()) return Retried::unknown;
    ModelJob& job = found->second;
    if (job.state != JobState::failed && job.state != JobState::cancelled) return Retried::not_ended;
    job.state = JobState::pending;
    job.attempts = 0;
    job.cancel = false;
    job.seq = ++seq_;
    return Retried::pending;
  }

  void brought_back(const Submission& job, const std::string& out, std::int64_t attempts) {
    ModelJob fresh;
    fresh.identity = job.identity;
    fresh.out = out;
    fresh.priority = job.priority;
    fresh.lora_set = job.lora_set;
    fresh.own_limit = job.max_attempts;
    fresh.attempts = attempts;
    fresh.seq = ++seq_;
    jobs[job.id] = fresh;
  }

  PutBack put_back(const std::string& id, bool as_looked_at) {
    const auto found = jobs.find(id);
    if (found == jobs.end() || found->second.state != JobState::done || !as_looked_at) return PutBack::changed;
    found->second.state = JobState::pending;
    found->second.attempts = 0;
    found->second.ended_token.clear();
    return PutBack::pending;
  }

  std::int64_t leased(const std::string& run) const {
    return std::count_if(jobs.begin(), jobs.end(), [&](const auto& entry) {
      return entry.second.state == JobState::running && entry.second.run == run;
    });
  }

  std::int64_t count(JobState state) const {
    return std::count_if(jobs.begin(), jobs.end(), [&](const auto& entry) { return entry.second.state == state; });
  }

  void unbind() {
    if (count(JobState::pending) + count(JobState::delayed) + count(JobState::running) == 0) bound.clear();
  }

 private:
  std::int64_t seq_ = 0;
};

class Walk {
 public:
  void run() {
    for (std::int64_t i = 0; i < setting("NIGHTREEL_MODEL_OPERATIONS", kOperations) && !failed_; ++i) {
      step();
      if (i % 500 == 0) check_all();
    }
    check_all();
    CHECK(leases_.size() > 1000);  // the walk went somewhere
  }

 private:
  void expect(bool holds, const char* what) {
    if (holds) return;
    failed_ = true;
    FAIL_CHECK("the scripts and the model differ: " << what << ", after: " << last_);
  }
  unsigned pick(std::size_t n) { return static_cast<unsigned>(random_() % n); }
  std::string some_id() { return "j" + std::to_string(pick(40)); }
  // Mostly a lease that counts, at times one of long ago.
  LeaseRef some_lease() {
    if (leases_.empty()) return {"none", "0"};
    const std::size_t back = pick(8) == 0 ? pick(leases_.size()) : pick(std::min<std::size_t>(leases_.size(), 6));
    return leases_[leases_.size() - 1 - back];
  }

  void step() {
    switch (pick(12)) {
      case 0:
      case 1:
        return submit();
      case 2:
      case 3:
      case 4:
        return claim();
      case 5:
        return end('c');
      case 6:
        return end('f');
      case 7:
        return end('r');
      case 8:
        return renew();
      case 9:
        return lose();
      case 10:
        return seldom();
      default:
        return due();
    }
  }

  void seldom() {
    if (pick(40) == 0) return lose_all();
    switch (pick(4)) {
      case 0:
        return vanish();
      case 1:
        return cancel();
      case 2:
        return retry();
      default:
        return put_back();
    }
  }

  void submit() {
    last_ = "submit";
    Submission one = a_job(some_id(), static_cast<std::int64_t>(pick(3)) - 1, pick(4) == 0 ? 1 : 0);
    if (pick(10) == 0) one.identity = "changed";
    one.lora_set = kSets[pick(kSets.size())];
    SubmitOptions options;
    options.overwrite = pick(3) == 0;
    options.out = pick(2) == 0 ? "/a" : "/b";
    expect(queue_.submit({one}, options).at(0) == model_.submit(one, options), "submit's result");
  }

  void claim() {
    last_ = "claim";
    ClaimRequest request = test::request(pick(2) == 0 ? "/a" : "/b", pick(5) == 0 ? "m2" : "m1");
    request.run = kRuns[pick(kRuns.size())];
    request.lora_set = kSets[pick(kSets.size())];
    request.in_a_row = pick(static_cast<std::size_t>(kMostInARow) + 2);
    if (pick(3) == 0) request.except = some_id();
    try {
      const auto result = queue_.claim(request);
      expect(model_.bound.empty() || model_.bound == request.model, "a claim for another model");
      const std::string want = model_.next(request.lora_set, request.in_a_row, request.except);
      expect(result.lease.has_value() == !want.empty(), "whether there is a job to claim");
      if (!result.lease) check_counts(result.counts, request.run);
      if (!result.lease || want.empty()) return;
      expect(result.lease->ref.id == want, "which job is next");
      const std::int64_t token = std::stoll(result.lease->ref.token);
      expect(token > last_token_, "the token does not grow");
      last_token_ = token;
      model_.claimed(*result.lease, request);
      expect(result.lease->attempt == model_.jobs.at(want).attempts, "the attempt's number");
      expect(result.lease->lora_set == model_.jobs.at(want).lora_set, "the LoRA set");
      leases_.push_back(result.lease->ref);
    } catch (const RedisError&) {
      throw;
    } catch (const base::Error&) {
      expect(!model_.bound.empty() && model_.bound != request.model, "a claim was refused");
    }
  }

  void end(char how) {
    last_ = std::string("end ") + how;
    const LeaseRef ref = some_lease();
    const bool permanent = pick(4) == 0;
    const auto want = model_.end(ref, how, permanent);
    std::optional<JobState> got;
    if (how == 'c' && queue_.complete(ref, {"v", "s", 1})) got = JobState::done;
    if (how == 'f') got = queue_.fail(ref, {"storage", "m", permanent, false});
    if (how == 'r') got = queue_.release(ref);
    expect(got == want, "how a lease ends");
  }

  void renew() {
    last_ = "renew";
    const LeaseRef ref = some_lease();
    const auto renewed = queue_.renew(ref, {});
    expect(renewed.held == model_.holds(ref), "whether a lease counts");
    if (renewed.held) expect(renewed.cancel_requested == model_.jobs.at(ref.id).cancel, "the request to cancel");
    const Fence fence = queue_.begin_publish(ref);
    const Fence want = !renewed.held ? Fence::stale : renewed.cancel_requested ? Fence::cancel_requested : Fence::open;
    expect(fence == want, "the fence");
  }

  void lose() {
    last_ = "lose a lease";
    const LeaseRef ref = some_lease();
    if (!model_.holds(ref)) return;
    raw_.command({"ZADD", kPrefix + "run", "1", ref.id});
    expect(queue_.reap() == 1, "how many leases ran out");
    model_.lost(ref.id);
  }

  void cancel() {
    last_ = "cancel";
    const std::string id = some_id();
    expect(queue_.cancel(id) == model_.cancel(id), "cancel's result");
  }

  void retry() {
    last_ = "retry";
    const std::string id = some_id();
    expect(queue_.retry(id) == model_.retry(id), "retry's result");
  }

  // Somebody deletes a job's hash, whatever state it is in, and a run brings the job back.
  void vanish() {
    last_ = "vanish";
    const auto found = model_.jobs.find(some_id());
    if (found == model_.jobs.end()) return;
    Submission job = a_job(found->first, found->second.priority, found->second.own_limit);
    job.identity = found->second.identity;
    job.lora_set = found->second.lora_set;
    const std::int64_t attempts = pick(3);
    const BringBack to{"run-1", "/a", "", ""};
    expect(queue_.bring_back({{job, attempts}}, to).at(0) == BroughtBack::known, "a job that is there is not lost");
    raw_.command({"DEL", kPrefix + "job:" + job.id});
    expect(queue_.bring_back({{job, attempts}}, to).at(0) == BroughtBack::back, "a lost job comes back");
    model_.brought_back(job, to.out, attempts);
  }

  // A video is gone, or is another file than the queue knows.
  void put_back() {
    last_ = "put back";
    const std::string id = some_id();
    const bool as_looked_at = pick(4) != 0;
    const auto got = queue_.put_back(id, as_looked_at ? "s" : "other", std::chrono::milliseconds(0));
    expect(got == model_.put_back(id, as_looked_at), "what is put back");
  }

  // The server forgets everything, and a run brings back what it knows to be open, or done without a video.
  void lose_all() {
    last_ = "lose all";
    const std::string before = queue_.incarnation();
    raw_.command({"FLUSHALL"});
    std::vector<LostJob> lost;
    for (const auto& [id, job] : model_.jobs) {
      if (job.state == JobState::failed || job.state == JobState::cancelled) continue;
      lost.push_back({a_job(id, job.priority, job.own_limit), job.attempts});
      lost.back().job.identity = job.identity;
      lost.back().job.lora_set = job.lora_set;
    }
    model_.jobs.clear();
    model_.bound.clear();
    last_token_ = 0;  // numbers begin anew, in another incarnation: leases of before are stale all the same
    if (lost.empty()) return;
    const BringBack to{"run-1", "/a", "", before};
    for (const BroughtBack one : queue_.bring_back(lost, to)) expect(one == BroughtBack::back, "a lost queue's job");
    for (const LostJob& one : lost) model_.brought_back(one.job, to.out, one.attempts);
    expect(before.empty() || queue_.incarnation() != before, "another incarnation");
  }

  // Every delay ends; the next claim would promote them, here a claim that wants more jobs than there are.
  void due() {
    last_ = "due";
    for (auto& [id, job] : model_.jobs) {
      if (job.state != JobState::delayed) continue;
      raw_.command({"ZADD", kPrefix + "delay", "1", id});
      job.state = JobState::pending;
    }
    ClaimRequest none = test::request("/a", model_.bound);
    none.min_pending = 1'000'000;
    expect(!queue_.claim(none).lease, "a claim below its least number of jobs");
  }

  void check_counts(const Counts& counts, const std::string& run) {
    expect(counts.pending == model_.count(JobState::pending), "pending");
    expect(counts.delayed == model_.count(JobState::delayed), "delayed");
    expect(counts.running == model_.count(JobState::running), "running");
    expect(counts.leased_by_run == model_.leased(run), "leased by the run");
    expect(counts.done == model_.count(JobState::done), "done");
    expect(counts.failed == model_.count(JobState::failed), "failed");
    expect(counts.cancelled == model_.count(JobState::cancelled), "cancelled");
    for (const auto& [at, said] : {std::pair{"0", counts.first_lease_ms}, std::pair{"-1", counts.last_lease_ms}}) {
      const Reply one = raw_.command({"ZRANGE", kPrefix + "run", at, at, "WITHSCORES"});
      expect(said == (one.array().empty() ? 0 : std::stoll(one.at(1).text())), "when the first and the last lease end");
    }
  }

  // What is derived of the sets says the same as they do.
  void check_indexes() {
    std::size_t in_lines = 0;
    for (const auto& set : kSets) {
      const Reply line = raw_.command({"ZRANGE", kPrefix + "pend:" + set, "0", "-1", "WITHSCORES"});
      for (std::size_t i = 0; i < line.array().size(); i += 2) {
        const std::string& id = line.at(i).text();
        expect(model_.jobs.at(id).lora_set == set, "whose line a job is in");
        expect(raw_.command({"ZSCORE", kPrefix + "pend", id}).text_or_empty() == line.at(i + 1).text(), "its place");
        ++in_lines;
      }
    }
    expect(in_lines == static_cast<std::size_t>(model_.count(JobState::pending)), "the lines' lengths");
    std::size_t runs = 0;
    for (const auto& run : kRuns) runs += model_.leased(run) > 0 ? 1 : 0;
    expect(raw_.command({"HLEN", kPrefix + "leases"}).integer() == static_cast<std::int64_t>(runs), "runs with leases");
  }

  void check_all() {
    for (const auto& run : kRuns) check_counts(queue_.counts(run), run);
    check_indexes();
    expect(raw_.command({"GET", kPrefix + "model"}).text_or_empty() == model_.bound, "the model that is bound");
    std::set<std::string> seen;
    for (const char* set : {"pend", "delay", "run", "done", "failed", "cancelled"}) {
      const Reply members = raw_.command({"ZRANGE", kPrefix + set, "0", "-1"});
      for (const Reply& id : members.array()) {
        expect(seen.insert(id.text()).second, "an id in two sets");
      }
    }
    expect(seen.size() == model_.jobs.size(), "the number of ids");
    std::vector<std::string> ids;
    for (const auto& [id, unused] : model_.jobs) ids.push_back(id);
    for (const JobView& view : queue_.lookup(ids)) {
      const ModelJob& want = model_.jobs.at(view.id);
      expect(view.state == want.state, "a job's state");
      expect(view.attempts == want.attempts, "a job's attempts");
      expect(view.out == want.out, "a job's OUT");
    }
  }

  static RedisQueueOptions slow(const test::TestServer& server) {
    RedisQueueOptions options = server.queue_options(std::chrono::hours(1));
    options.first_backoff = options.longest_backoff = std::chrono::hours(1);  // time passes only when the walk says so
    return options;
  }

  test::TestServer server_{"appendonly no\n"};
  RedisQueue queue_{slow(server_)};
  Redis raw_{server_.options()};
  Model model_;
  std::mt19937 random_{static_cast<unsigned>(setting("NIGHTREEL_MODEL_SEED", kSeed))};
  std::vector<LeaseRef> leases_;
  std::int64_t last_token_ = 0;
  std::string last_;
  bool failed_ = false;
};

}  // namespace

TEST_CASE("random operations leave the scripts and the model of the queue in the same state") {
  Walk walk;
  walk.run();
}
