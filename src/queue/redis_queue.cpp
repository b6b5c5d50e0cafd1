#include "nightreel/queue/redis_queue.h"

#include <fmt/format.h>
#include <nightreel/queue/lua_scripts.h>
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iterator>
#include <map>
#include <random>
#include <span>
#include <sstream>
#include <utility>

#include "nightreel/base/error.h"
#include "nightreel/base/hash.h"
#include "nightreel/base/random.h"
#include "nightreel/queue/job_view.h"
#include "queue/wrong_type.h"

namespace nightreel::queue {
namespace {

using base::Error;
using base::ErrorKind;

constexpr std::size_t kBatchJobs = 200;
constexpr std::size_t kBatchBytes = 2U << 20U;
constexpr std::size_t kTurnEntries = 64;       // of the inbox
constexpr std::size_t kTurnBytes = 1U << 20U;  // likewise
constexpr std::size_t kVerdictJob = 7;         // fields of append_job
constexpr int kTakerMs = 2000;                 // who is silent for so long loses its turn at the inbox
constexpr std::size_t kPage = 500;
constexpr std::size_t kMaxMessage = 4000;

template <typename Value>
Value decoded(const std::map<std::string, Value>& codes, const std::string& code) {
  const auto found = codes.find(code);
  if (found == codes.end()) {
    throw RedisError(RedisFault::protocol, "Redis gave the unknown result " + base::printable(code, 40));
  }
  return found->second;
}

[[noreturn]] void throw_other_model(const std::string& queue, const std::string& bound, const std::string& ours) {
  throw Error(ErrorKind::environment,
              fmt::format("queue {}: bound to the model with digest {} until its jobs have ended, this one is {}; "
                          "use another --queue",
                          queue, base::printable(bound, 40), base::printable(ours, 40)));
}

void check_bounds(const Submission& job) {
  if (job.id.empty() || job.id.size() > 128) throw Error(ErrorKind::usage, "id: must have 1 to 128 characters");
  const std::string id = base::printable(job.id);
  if (job.spec.size() > kMaxSpec) {
    throw Error(ErrorKind::usage,
                fmt::format("job {}: {} bytes, at most {} are allowed", id, job.spec.size(), kMaxSpec));
  }
  if (std::abs(job.priority) > kMaxPriority) {
    throw Error(ErrorKind::usage, fmt::format("job {}: priority: must lie within ±{}", id, kMaxPriority));
  }
}

void append_job(std::vector<std::string>& args, const Submission& job) {
  for (const std::string& arg : {job.id, job.identity, job.hash, job.spec, std::to_string(job.priority),
                                 std::to_string(job.max_attempts), job.lora_set}) {
    args.push_back(arg);
  }
}

// The first jobs of `rest` that one script call may carry.
std::span<const Submission> batch_of(std::span<const Submission> rest) {
  std::size_t count = 0;
  for (std::size_t bytes = 0; count < std::min(rest.size(), kBatchJobs); ++count) {
    bytes += rest[count].spec.size();
    if (bytes > kBatchBytes && count > 0) break;
  }
  return rest.first(count);
}

template <typename Number>
std::string text_or_empty(const std::optional<Number>& value) {
  return value ? fmt::format("{}", *value) : std::string();
}

// What counts() of common.lua returned, from `first` on.
Counts counts_from(const Reply& reply, std::size_t first) {
  const auto count = [&](std::size_t index) { return reply.at(first + index).integer(); };
  return {count(0), count(1), count(2),      count(3), count(4), count(5),
          count(6), count(7), count(8) != 0, count(9), count(10)};
}

std::string checked_prefix(const std::string& name) {
  check_queue_name(name);
  return "nightreel:{" + name + "}:";
}

std::int64_t random_jitter_permille() {
  std::random_device device;
  return std::uniform_int_distribution<std::int64_t>(500, 1500)(device);
}

}  // namespace

void check_queue_name(const std::string& name) {
  const bool bad = name.empty() || name.size() > 128 || std::any_of(name.begin(), name.end(), [](char c) {
                     return c == '{' || c == '}' || static_cast<unsigned char>(c) <= ' ' || c == '\x7f';
                   });
  if (bad) {
    throw Error(ErrorKind::usage, "queue name '" + base::printable(name) +
                                      "': 1 to 128 characters without spaces and braces are allowed");
  }
}

struct RedisQueue::Scripts {
  Script submit{"submit", lua::k_submit};
  Script inbox_turn{"inbox_turn", lua::k_inbox_turn};
  Script claim{"claim", lua::k_claim};
  Script renew{"renew", lua::k_renew};
  Script begin_publish{"begin_publish", lua::k_begin_publish};
  Script complete{"complete", lua::k_complete};
  Script fail{"fail", lua::k_fail};
  Script release{"release", lua::k_release};
  Script cancel{"cancel", lua::k_cancel};
  Script retry{"retry", lua::k_retry};
  Script put_back{"put_back", lua::k_put_back};
  Script note_standing{"note_standing", lua::k_note_standing};
  Script reap{"reap", lua::k_reap};
  Script bind_model{"bind_model", lua::k_bind_model};
  Script counts{"counts", lua::k_counts};
  Script view{"view", lua::k_view};
  Script bring_back{"bring_back", lua::k_bring_back};
  Script set_content{"set_content", lua::k_set_content};
  Script rights{"rights", lua::k_rights};
};

std::chrono::milliseconds lease_margin(std::chrono::milliseconds lease) {
  return std::clamp(lease / 10, std::chrono::milliseconds(50), std::chrono::milliseconds(5000));
}

RedisQueue::RedisQueue(RedisQueueOptions options)
    : options_(std::move(options)),
      redis_(options_.redis),
      prefix_(checked_prefix(options_.name)),
      worker_(base::random_hex(16)),
      scripts_(std::make_unique<Scripts>()) {}

RedisQueue::~RedisQueue() = default;

void RedisQueue::set_patience(const Patience& patience) {
  redis_.set_patience(patience);
}
void RedisQueue::ping() {
  redis_.command({"PING"});
}

void RedisQueue::check_rights() {
  ping();
  try {
    run(scripts_->rights, {});
  } catch (const RedisError& e) {
    if (e.fault() != RedisFault::refused) throw;
    throw Error(ErrorKind::environment,
                std::string(e.what()) + ": this user, or this server, does not allow what a run needs (docs/redis.md)");
  }
}

Reply RedisQueue::run(Script& script, const std::vector<std::string>& args) {
  return ask([&] { return redis_.eval(script, prefix_, args); });
}

// Redis does not say which key holds something else than it should.
Reply RedisQueue::ask(const std::function<Reply()>& call) {
  try {
    return call();
  } catch (const RedisError& e) {
    if (!is_wrong_type(e)) throw;
    throw wrong_type(e, prefix_, [&](const std::string& key) { return redis_.command({"TYPE", key}).text(); });
  }
}

Clock::time_point RedisQueue::deadline_from(Clock::time_point sent) const {
  return sent + options_.lease - lease_margin(options_.lease);
}

std::vector<Submitted> RedisQueue::submit(const std::vector<Submission>& jobs, const SubmitOptions& options) {
  for (const auto& job : jobs) check_bounds(job);
  std::vector<Submitted> outcome = submit_pass("check", jobs, options);
  if (std::count(outcome.begin(), outcome.end(), Submitted::conflict) > 0) return outcome;
  return submit_pass("add", jobs, options);
}

std::vector<Submitted> RedisQueue::submit_pass(const std::string& pass, const std::vector<Submission>& jobs,
                                               const SubmitOptions& options) {
  static const std::map<std::string, Submitted> kCodes{{"ADD", Submitted::added},
                                                       {"SAME", Submitted::unchanged},
                                                       {"AGAIN", Submitted::again},
                                                       {"REPLACE", Submitted::replaced},
                                                       {"CONFLICT", Submitted::conflict}};
  std::vector<Submitted> out;
  for (std::span<const Submission> rest(jobs); !rest.empty();) {
    const auto batch = batch_of(rest);
    std::vector<std::string> args{pass, options.overwrite ? "1" : "0", options.out, options.model};
    for (const auto& job : batch) append_job(args, job);
    const Reply reply = run(scripts_->submit, args);
    if (reply.at(0).text() == "OTHER_MODEL") throw_other_model(options_.name, reply.at(1).text(), options.model);
    for (std::size_t i = 0; i < batch.size(); ++i) out.push_back(decoded(kCodes, reply.at(i + 1).at(0).text()));
    rest = rest.subspan(batch.size());
  }
  return out;
}

// What is to become of an entry that was looked at: inbox_turn.lua has the order of the fields.
void RedisQueue::append_verdict(std::vector<std::string>& args, const Looked& looked,
                                const InboxValidator& validate) const {
  InboxJob checked{std::nullopt, "longer than a job may be"};
  if (looked.entry.size() < kMaxSpec) checked = validate(looked.entry);
  try {
    if (checked.job) check_bounds(*checked.job);
  } catch (const Error& e) {
    checked = {std::nullopt, e.what(), checked.senders_id};
  }
  const std::string reason = checked.reason.empty() ? "not a job" : base::printable(checked.reason, kMaxMessage);
  args.insert(args.end(), {looked.mark, checked.senders_id, "inbox-" + base::sha256_hex(looked.entry).substr(0, 16),
                           checked.job ? "" : reason});
  checked.job ? append_job(args, *checked.job) : args.resize(args.size() + kVerdictJob);
}

InboxResult RedisQueue::take_inbox(const InboxValidator& validate, const std::string& out) {
  if (looked_.empty() && ask([&] { return redis_.command({"LLEN", prefix_ + "inbox"}); }).integer() == 0) return {};
  std::vector<std::string> args{worker_,
                                std::to_string(kTakerMs),
                                std::to_string(kTurnEntries),
                                std::to_string(kTurnBytes),
                                std::to_string(kMaxSpec),
                                out};
  for (const Looked& looked : std::exchange(looked_, {})) append_verdict(args, looked, validate);
  const Reply reply = run(scripts_->inbox_turn, args);
  InboxResult result;
  if (reply.at(0).text() == "BUSY") return result;
  for (const Reply& left : reply.at(1).array()) {
    if (left.at(0).text() == "ADDED") ++result.added;
    if (left.at(0).text() == "REJECTED") result.rejected.push_back({left.at(1).text(), left.at(2).text()});
  }
  for (const Reply& shown : reply.at(2).array()) looked_.push_back({shown.at(0).text(), shown.at(1).text()});
  result.more = !looked_.empty();
  return result;
}

void RedisQueue::bind_model(const std::string& digest) {
  const Reply reply = run(scripts_->bind_model, {digest});
  if (reply.at(0).text() == "OTHER_MODEL") throw_other_model(options_.name, reply.at(1).text(), digest);
}

Lease RedisQueue::lease_from(const Reply& reply, Clock::time_point sent) const {
  Lease lease;
  lease.ref = {reply.at(1).text(), reply.at(2).text()};
  lease.attempt = reply.at(3).integer();
  lease.max_attempts = reply.at(4).integer();
  lease.spec = reply.at(5).text();
  lease.hash = reply.at(6).text();
  lease.alone = reply.at(7).text() == "1";
  lease.earlier = reply.at(8).text() == "1";
  lease.lora_set = reply.at(9).text();
  lease.priority = reply.at(10).text().empty() ? 0 : reply.at(10).integer();
  std::istringstream before(reply.at(11).text());
  lease.before.assign(std::istream_iterator<std::string>(before), {});
  lease.deadline = deadline_from(sent);
  return lease;
}

ClaimResult RedisQueue::claim(const ClaimRequest& request) {
  if (nonce_.empty()) nonce_ = base::random_hex(16);
  // Taken before the first attempt, however often the call is repeated: never later than the server's own count.
  const auto sent = Clock::now();
  const Reply reply =
      run(scripts_->claim,
          {worker_, nonce_, std::to_string(options_.lease.count()), std::to_string(request.max_attempts), request.model,
           request.out, request.run, request.host, std::to_string(request.rank), std::to_string(request.min_pending),
           request.lora_set, std::to_string(request.in_a_row), text_or_empty(request.above), request.except});
  nonce_.clear();
  const std::string& code = reply.at(0).text();
  if (code == "OTHER_MODEL") throw_other_model(options_.name, reply.at(1).text(), request.model);
  if (code == "JOB") return {lease_from(reply, sent), {}, {}};
  ClaimResult nothing{{}, counts_from(reply, 2), {}};
  const std::int64_t wait = reply.at(1).integer();
  if (wait >= 0) nothing.next_change = std::chrono::milliseconds(wait);
  return nothing;
}

std::optional<std::int64_t> RedisQueue::highest_pending() {
  const Reply first = ask([&] { return redis_.command({"ZRANGE", prefix_ + "pend", "0", "0", "WITHSCORES"}); });
  if (first.array().size() < 2) return std::nullopt;
  // A score is -priority * 2^32 + place (common.lua), both exact in a double.
  const double score = std::strtod(first.at(1).text().c_str(), nullptr);
  return -static_cast<std::int64_t>(std::floor(score / 4294967296.0));
}

Renewed RedisQueue::renew(const LeaseRef& ref, const Progress& progress) {
  const auto sent = Clock::now();
  const Reply reply = run(scripts_->renew,
                          {ref.id, ref.token, std::to_string(options_.lease.count()), progress.stage,
                           text_or_empty(progress.step), text_or_empty(progress.steps), text_or_empty(progress.eta_s)});
  return {reply.at(0).text() == "OK", reply.at(1).text() == "1", deadline_from(sent)};
}

Fence RedisQueue::begin_publish(const LeaseRef& ref) {
  static const std::map<std::string, Fence> kCodes{
      {"OK", Fence::open}, {"STALE", Fence::stale}, {"CANCEL", Fence::cancel_requested}};
  return decoded(kCodes,
                 run(scripts_->begin_publish, {ref.id, ref.token, std::to_string(options_.lease.count())}).text());
}

bool RedisQueue::complete(const LeaseRef& ref, const Published& published) {
  const Reply reply = run(scripts_->complete, {ref.id, ref.token, published.video, published.sha256,
                                               std::to_string(published.bytes), published.stamp});
  return reply.text() == "OK";
}

std::optional<JobState> RedisQueue::fail(const LeaseRef& ref, const Failure& failure) {
  const Reply reply =
      run(scripts_->fail,
          {ref.id, ref.token, failure.kind, base::printable(failure.message, kMaxMessage),
           failure.permanent ? "1" : "0", failure.poison ? "1" : "0", std::to_string(options_.first_backoff.count()),
           std::to_string(options_.longest_backoff.count()), std::to_string(random_jitter_permille())});
  if (reply.at(0).text() != "OK") return std::nullopt;
  return job_state(reply.at(1).text());
}

std::optional<JobState> RedisQueue::release(const LeaseRef& ref, bool alone) {
  const Reply reply = run(scripts_->release, {ref.id, ref.token, alone ? "1" : "0"});
  if (reply.at(0).text() != "OK") return std::nullopt;
  return job_state(reply.at(1).text());
}

Cancelled RedisQueue::cancel(const std::string& id) {
  static const std::map<std::string, Cancelled> kCodes{{"CANCELLED", Cancelled::now},
                                                       {"ASKED", Cancelled::asked},
                                                       {"UNKNOWN", Cancelled::unknown},
                                                       {"ENDED", Cancelled::ended_before}};
  return decoded(kCodes, run(scripts_->cancel, {id}).text());
}

Retried RedisQueue::retry(const std::string& id) {
  static const std::map<std::string, Retried> kCodes{{"PENDING", Retried::pending},
                                                     {"INBOX", Retried::inbox},
                                                     {"UNKNOWN", Retried::unknown},
                                                     {"TOO_LONG", Retried::not_kept},
                                                     {"OTHER", Retried::not_ended}};
  return decoded(kCodes, run(scripts_->retry, {id}).text());
}

PutBack RedisQueue::put_back(const std::string& id, const std::string& sha256, std::chrono::milliseconds age) {
  static const std::map<std::string, PutBack> kCodes{
      {"PENDING", PutBack::pending}, {"YOUNG", PutBack::young}, {"OTHER", PutBack::changed}};
  return decoded(kCodes, run(scripts_->put_back, {id, sha256, std::to_string(age.count())}).text());
}

void RedisQueue::note_standing(const std::string& id, const std::string& sha256, const std::string& stamp) {
  run(scripts_->note_standing, {id, sha256, stamp});
}

std::size_t RedisQueue::reap() {
  return static_cast<std::size_t>(run(scripts_->reap, {}).integer());
}

Counts RedisQueue::counts(const std::string& run_id) {
  return counts_from(run(scripts_->counts, {run_id}), 0);
}

std::vector<JobView> RedisQueue::list(JobState state) {
  if (state == JobState::unknown) return {};
  std::vector<JobView> out;
  for (std::size_t first = 0;; first += kPage) {
    const Reply page =
        run(scripts_->view, {"set", std::string(name(state)), std::to_string(first), std::to_string(kPage)});
    for (const Reply& item : page.array()) out.push_back(job_view(item));
    if (page.array().size() < kPage) return out;
  }
}

std::vector<JobView> RedisQueue::lookup(const std::vector<std::string>& ids) {
  std::vector<JobView> out;
  for (std::size_t first = 0; first < ids.size(); first += kPage) {
    std::vector<std::string> args{"ids"};
    for (std::size_t i = first; i < std::min(ids.size(), first + kPage); ++i) args.push_back(ids[i]);
    const Reply page = run(scripts_->view, args);
    for (std::size_t i = 0; i + 1 < args.size(); ++i) out.push_back(job_view(page.at(i)));
  }
  return out;
}

std::string RedisQueue::incarnation() {
  return ask([&] { return redis_.command({"GET", prefix_ + "incarnation"}); }).text_or_empty();
}

std::vector<BroughtBack> RedisQueue::bring_back(const std::vector<LostJob>& jobs, const BringBack& options) {
  static const std::map<std::string, BroughtBack> kCodes{
      {"BACK", BroughtBack::back}, {"KNOWN", BroughtBack::known}, {"OTHER", BroughtBack::other_content}};
  std::vector<Submission> list;
  for (const auto& lost : jobs) list.push_back(lost.job);
  std::vector<BroughtBack> out;
  for (std::span<const Submission> rest(list); !rest.empty();) {
    const auto batch = batch_of(rest);
    std::vector<std::string> args{options.run, options.out, options.model, options.before};
    for (std::size_t i = 0; i < batch.size(); ++i) {
      append_job(args, batch[i]);
      args.push_back(std::to_string(jobs[out.size() + i].attempts));
    }
    const Reply reply = run(scripts_->bring_back, args);
    if (reply.at(0).text() == "OTHER_MODEL") throw_other_model(options_.name, reply.at(1).text(), options.model);
    for (std::size_t i = 0; i < batch.size(); ++i) out.push_back(decoded(kCodes, reply.at(i + 1).text()));
    rest = rest.subspan(batch.size());
  }
  return out;
}

void RedisQueue::set_content(const std::string& run) {
  this->run(scripts_->set_content, {run, "60"});
}

}  // namespace nightreel::queue
