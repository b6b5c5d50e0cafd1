// The job list as a rank sees it: claim, renew, publish, end. RedisQueue (redis_queue.h) is the real one.
//
// Values and an interface; owns nothing. An implementation serves one thread at a time. Every call may throw
// RedisError (the list is away, and the call may or may not have happened: it is safe to repeat) and
// Error{interrupted}. A job in hand is named by LeaseRef: its id and the fencing token of this one claim; when that
// claim no longer counts, a mutation says so in its result and changes nothing.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace nightreel::queue {

using Clock = std::chrono::steady_clock;

/// A job's spec in Redis, and an inbox entry, in bytes.
inline constexpr std::size_t kMaxSpec = 256U << 10U;
/// The line is sorted by priority within ±kMaxPriority.
inline constexpr std::int64_t kMaxPriority = 1 << 20;

enum class JobState { unknown, pending, delayed, running, done, failed, cancelled };
std::string_view name(JobState state);
JobState job_state(std::string_view name);  // `unknown` for any other text

struct Submission {
  std::string id;
  std::string identity;  // equal for equal content: the hash, and whatever else (resolved paths) makes it this job
  std::string hash;
  std::string spec;  // JSON text that the claim hands to the rank, at most kMaxSpec bytes
  std::int64_t priority = 0;
  std::int64_t max_attempts = 0;  // 0: the run's
  std::string lora_set = {};      // job::lora_set: jobs of one set follow each other without changing weights
};

struct SubmitOptions {
  bool overwrite = false;  // other content under a known id replaces it (and fences its holder)
  std::string out;         // the OUT that the videos are wanted in; empty: any
  std::string model;       // digest; empty: not known. Where the queue is bound to another one, nothing is added
};

enum class Submitted { added, unchanged, again /* was done for another OUT */, replaced, conflict };

struct InboxJob {
  std::optional<Submission> job;
  std::string reason;           // why it is no job
  std::string senders_id = {};  // the id that it states, where that is a legal one
};
/// Makes a job of an inbox entry, or says why it is none. Does not throw for a bad entry.
using InboxValidator = std::function<InboxJob(const std::string& entry)>;

struct Rejected {
  std::string id;  // of the failed record that tells of the entry
  std::string reason;
};

struct InboxResult {
  std::size_t added = 0;
  std::vector<Rejected> rejected;
  bool more = false;  // entries were seen that wait for the next turn
};

struct LeaseRef {
  std::string id;
  std::string token;  // fencing token, "7-0123456789abcdef": a number that grows with every claim, and the incarnation
};

struct Lease {
  LeaseRef ref;
  std::int64_t attempt = 0;  // from 1
  std::int64_t max_attempts = 0;
  std::string spec;
  std::string hash;
  bool alone = false;    // was in a renderer that died of another job: let no other job share its renderer
  bool earlier = false;  // not the first claim of this id: files of those before may lie about
  std::string lora_set;  // as submitted
  std::int64_t priority = 0;
  std::vector<std::string> before = {};  // earlier incarnations of this queue: files of theirs may lie about
  Clock::time_point deadline;  // past it nothing may be published: the TTL, less a margin, from before the claim
};

struct ClaimRequest {
  std::string out;
  std::string model;  // digest
  std::string run;
  std::string host;
  int rank = 0;
  std::int64_t max_attempts = 3;
  std::int64_t min_pending = 1;  // claim only while at least so many are pending
  std::string lora_set;          // what the rank's weights are merged with: preferred among jobs of equal priority
  std::int64_t in_a_row = 0;     // how many jobs of it the rank has had: after 16 it is preferred no more
  std::optional<std::int64_t> above = {};  // only a job of a higher priority than this one
  std::string except = {};                 // the id of a job that is wanted only where no other waits
};

struct Progress {
  std::string stage;
  std::optional<std::int64_t> step;
  std::optional<std::int64_t> steps;
  std::optional<double> eta_s;
};

struct Renewed {
  bool held = false;
  bool cancel_requested = false;
  Clock::time_point deadline;  // the new one, where held
};

enum class Fence { open, stale, cancel_requested };

struct Published {
  std::string video;  // path below OUT
  std::string sha256;
  std::uint64_t bytes = 0;
  std::string stamp = {};  // of the files under their final names (OutputFolder::stamp_of_set); empty: not looked at
};

struct Failure {
  std::string kind;  // base::traits(kind).name
  std::string message;
  bool permanent = false;  // no further attempt may succeed
  bool poison = false;     // this attempt killed or hung its renderer
};

enum class Cancelled { now, asked /* its holder sees it at the next renewal */, unknown, ended_before };
enum class PutBack {
  pending,
  young /* its record is not as old as asked for */,
  changed /* is not that done job any more */
};
enum class Retried { pending, inbox /* a rejected inbox entry */, unknown, not_kept, not_ended };

struct Counts {
  std::int64_t inbox = 0;
  std::int64_t pending = 0;
  std::int64_t delayed = 0;
  std::int64_t running = 0;
  std::int64_t done = 0;
  std::int64_t failed = 0;
  std::int64_t cancelled = 0;
  std::int64_t leased_by_run = 0;
  bool content = false;             // the run's first rank has found that every job of its files has ended
  std::int64_t first_lease_ms = 0;  // when the first of all leases ends, by Redis' clock; 0: there is none
  std::int64_t last_lease_ms = 0;   // and the last
  /// Nothing waits, and this run holds nothing.
  bool drained() const { return inbox + pending + delayed + leased_by_run == 0; }
};

struct JobView {
  std::string id;
  JobState state = JobState::unknown;
  std::int64_t attempts = 0;
  std::optional<std::int64_t> rank;
  std::string host;
  Progress progress;
  std::string error_kind;
  std::string error;
  bool poison = false;
  std::int64_t priority = 0;
  std::string out;
  std::string video;
  std::string sha256;
  std::string hash;
  std::string run;
  std::string identity = {};
  std::string stamp;  // of the files that were last seen to have the sha256; empty: never looked at
};

/// A job of a run's list that the queue knows no more.
struct LostJob {
  Submission job;
  std::int64_t attempts = 0;  // that it had used up
};

struct BringBack {
  std::string run;
  std::string out;     // the OUT that the videos are wanted in
  std::string model;   // digest; empty: not known
  std::string before;  // the incarnation that the jobs were known in; empty: not known
};

enum class BroughtBack { back, known /* the queue has it after all */, other_content };

struct ClaimResult {
  std::optional<Lease> lease;
  Counts counts;                                         // where there is no lease: as of that moment
  std::optional<std::chrono::milliseconds> next_change;  // where there is no lease: a delay ends or a lease runs out
};

class JobQueue {
 public:
  virtual ~JobQueue() = default;

  /// All or none: where one is a conflict (or the queue is bound to another model: Error{environment}) nothing is
  /// added. One result for each job. Throws Error{usage} for a job beyond the bounds above.
  virtual std::vector<Submitted> submit(const std::vector<Submission>& jobs, const SubmitOptions& options) = 0;
  /// One turn at the inbox: a bounded number of entries and bytes, however long it is. What one turn has looked at, the
  /// next makes jobs or records of, where it still is at the head. Any number of ranks may do so at once, of which one
  /// gets on, and may die at any point of it.
  virtual InboxResult take_inbox(const InboxValidator& validate, const std::string& out) = 0;
  /// Refuses with Error{environment} where the queue holds work that is bound to another digest.
  virtual void bind_model(const std::string& digest) = 0;

  virtual ClaimResult claim(const ClaimRequest& request) = 0;
  /// Of the jobs that wait; nothing where none does. Costs the server next to nothing.
  virtual std::optional<std::int64_t> highest_pending() = 0;
  virtual Renewed renew(const LeaseRef& ref, const Progress& progress) = 0;
  virtual Fence begin_publish(const LeaseRef& ref) = 0;
  /// False: another holder has the job.
  virtual bool complete(const LeaseRef& ref, const Published& published) = 0;
  /// The job's new state (delayed, failed, or cancelled where that was asked for); nothing where the lease is stale.
  virtual std::optional<JobState> fail(const LeaseRef& ref, const Failure& failure) = 0;
  /// Back without using up the attempt: pending, or cancelled where that was asked for. `alone`: every later lease of
  /// the job says so, until it has ended.
  virtual std::optional<JobState> release(const LeaseRef& ref, bool alone) = 0;
  std::optional<JobState> release(const LeaseRef& ref) { return release(ref, false); }

  virtual Cancelled cancel(const std::string& id) = 0;
  virtual Retried retry(const std::string& id) = 0;
  /// A done job whose video is gone, or is another file, is pending again, with all its attempts and at its old place
  /// in the line: as long as its record has the `sha256` that was looked at, and has been done for `age`.
  virtual PutBack put_back(const std::string& id, const std::string& sha256, std::chrono::milliseconds age) = 0;
  /// Keeps in the record of a done job which files were seen to have this sha256, so that they are not read again.
  virtual void note_standing(const std::string& id, const std::string& sha256, const std::string& stamp) = 0;
  /// Takes back leases that ran out (claim does so too). Returns how many.
  virtual std::size_t reap() = 0;

  /// `run` may be empty: leased_by_run is 0 then.
  virtual Counts counts(const std::string& run) = 0;
  /// Jobs of one state; a job that changes state meanwhile may be missing.
  virtual std::vector<JobView> list(JobState state) = 0;
  /// One view for each id; JobState::unknown where there is none.
  virtual std::vector<JobView> lookup(const std::vector<std::string>& ids) = 0;

  /// The random word for these very data, which a server that lost them does not have; empty where there are none.
  virtual std::string incarnation() = 0;
  /// One result for each job. Refuses with Error{environment} where the queue is bound to another model.
  virtual std::vector<BroughtBack> bring_back(const std::vector<LostJob>& jobs, const BringBack& options) = 0;
  /// Counts of the run say so for a minute, or until a job of it is claimed or put back.
  virtual void set_content(const std::string& run) = 0;
};

}  // namespace nightreel::queue
