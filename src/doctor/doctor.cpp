// The order of the checks. Each step is one subject's file: what a rank finds out, gathered, judged on every rank
// alike.
#include "nightreel/doctor/doctor.h"

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <thread>

#include "doctor/context.h"
#include "doctor/gpus.h"
#include "doctor/group.h"
#include "doctor/host.h"
#include "doctor/launch.h"
#include "doctor/model.h"
#include "doctor/network.h"
#include "doctor/notes.h"
#include "doctor/redis.h"
#include "doctor/renderers.h"
#include "doctor/storage.h"
#include "doctor/watchdog.h"
#include "nightreel/base/build_version.h"
#include "nightreel/cluster/launch_check.h"
#include "nightreel/cluster/shared_folder.h"

namespace nightreel::doctor {
namespace {

using base::Error;
using std::chrono::milliseconds;

constexpr milliseconds kFolderPatience{10'000};  // for an NFS client to see another's file
constexpr milliseconds kBeforeRankZero{3'000};   // it shall have shown the report before mpirun ends all
constexpr milliseconds kLongestReading{std::chrono::hours(12)};
constexpr std::uint64_t kSmallExchange = 256U << 10U;  // bytes, between CPUs: a check, no measurement

int failed() {
  return base::traits(base::ErrorKind::environment).exit_code;
}

class Examination {
 public:
  Examination(const Options& options, const Hooks& hooks)
      : options_(options),
        hooks_(hooks),
        request_(cluster::parse_device_request(options.device)),
        environment_(cluster::process_environment()),
        launcher_(cluster::launcher(environment_)),
        launcher_rank_(cluster::launcher_rank(environment_)),
        renderer_(options.renderer_env),
        watchdog_([this](const std::string& doing) { too_late(doing); }) {
    if (!options_.out.empty()) options_.out = std::filesystem::absolute(options_.out).lexically_normal().string();
  }

  int operator()() {
    watchdog_.begin("MPI's start", kWorldDeadline + milliseconds(options_.patience));
    try {
      cluster::World world(kWorldDeadline);
      Context context{options_, world, environment_, Patient(options_.patience)};
      examine(context);
      code_ = conclude(context);
      left_behind_ = context.patient.left_behind();
      watchdog_.begin("MPI's end", context.meeting());
    } catch (const Error& e) {
      notes_.add(
          {failure("mpi", e.what(), "see the launcher's own messages: a host that is down, a rank that was killed")});
      give_up();
      return failed();
    }
    if (left_behind_) hooks_.leave(code_);
    return code_;
  }

 private:
  void examine(Context& context) {
    step(context, "launch", [&] { return launch(context); });
    step(context, "gpus", [&] { return gpus(context); });
    step(context, "host", [&] { return host(context); });
    step(context, "clock", [&] { return Findings{judge_clocks(context.places(), measure_skews(context))}; });
    step(context, "interfaces", [&] { return network(context); });
    step(context, "redis", [&] { return redis(context); });
    step(context, "storage", [&] { return storage(context); });
    step(context, "engine", [&] { return engine(context); });
    step(
        context, "model", [&] { return model(context); }, kLongestReading);
    step(
        context, on_gpus() ? "nccl" : "group", [&] { return group(context); }, context.patient.limit() * 12);
    renderer_.stop();
  }

  // What a rank does alone fails within its answer; what is thrown here, all ranks throw together.
  template <typename Work>
  void step(Context& context, const std::string& name, Work work, milliseconds more = milliseconds(0)) {
    if (lost_) {
      notes_.add({not_checked(name, "the ranks have lost each other")});
      return;
    }
    watchdog_.begin(name, context.meeting() * 4 + kWorldDeadline + more);
    try {
      notes_.add(work());
    } catch (const Lost& e) {
      lost_ = true;
      notes_.add(
          {failure(name, e.what(), "a host that hangs or is gone, a process that was stopped: look there first")});
    } catch (const std::exception& e) {
      notes_.add({failure(name, e.what(), "the check itself could not be made: see the other lines")});
    }
  }

  Findings launch(Context& context) {
    const int size = context.world.size();
    const auto answers = gather<LaunchFacts>(context, "launch", [size, launcher = launcher_, env = environment_] {
      return launch_facts(size, launcher, env);
    });
    // Singletons think that each of them is rank 0: one of them speaks.
    const auto& first = answers.front();
    silent_ = !first.facts.singleton.empty() && launcher_rank_ > 0;
    return judge_launch(context.places(), answers, options_.expect_ranks);
  }

  Findings gpus(Context& context) {
    const auto place = context.world.place();
    gpu_answers_ = gather<GpuFacts>(context, "gpus",
                                    [rank = context.world.rank(), place, request = request_, share = options_.share_gpu,
                                     env = environment_] { return gpu_facts(rank, place, request, share, env); });
    const auto judged = judge_gpus(context.places(), gpu_answers_);
    devices_ = judged.devices;
    sharing_ = judged.sharing;
    std::vector<RankPlace> ranks;
    for (std::size_t r = 0; r < context.places().size(); ++r) {
      const auto& where = context.places()[r];
      ranks.push_back({static_cast<int>(r), where.host, where.local_rank, devices_.empty() ? "" : devices_[r]});
    }
    notes_.set_ranks(ranks);
    return judged.findings;
  }

  bool on_gpus() const { return !devices_.empty() && devices_.front() != "cpu"; }

  Findings host(Context& context) {
    return judge_host(context.places(), gather<HostFacts>(context, "host", host_facts), on_gpus());
  }

  Findings network(Context& context) {
    const auto answers =
        gather<NetworkFacts>(context, "interfaces", [env = environment_] { return network_facts(env); });
    roads_ = try_roads(context, answers);
    return judge_network(context.places(), answers, roads_);
  }

  Findings redis(Context& context) {
    // As in a run, rank 0's flags and environment decide for all.
    base::Json choice = base::Json::object();
    try {
      const auto chosen = choose_redis(options_.redis, queue::process_env);
      choice = {{"addresses", queue::to_json(chosen.addresses)}, {"source", chosen.source}};
    } catch (const Error& e) {
      choice["problem"] = e.what();
    }
    choice = base::Json::parse(exchange(context, dump(choice), "redis", context.meeting()).front());
    if (choice.contains("problem")) {
      return {
          failure("redis", choice.at("problem").get<std::string>(), "write redis://[user:password@]host[:port][/db]")};
    }
    const auto addresses = queue::addresses_from_json(choice.at("addresses").get<std::string>());
    if (addresses.empty()) return private_redis(context);
    const auto answers = gather<RedisFacts>(
        context, "redis",
        [addresses, name = options_.queue, first = context.first()] { return redis_facts(addresses, name, first); });
    if (answers.front().has_facts()) queued_ = answers.front().facts.queued;
    return judge_redis(context.places(), answers, choice.at("source").get<std::string>());
  }

  Findings private_redis(Context& context) {
    const auto answers = gather<PrivateRedisFacts>(context, "redis", [out = options_.out, first = context.first()] {
      return first ? private_redis_facts(out) : PrivateRedisFacts();
    });
    if (answers.front().has_facts() && !options_.out.empty()) queued_ = answers.front().facts.queued;
    return {judge_private_redis(answers.front(), !options_.out.empty())};
  }

  Findings storage(Context& context) {
    if (options_.out.empty()) return {not_checked("storage", "no --out")};
    const auto answers = gather<StorageFacts>(
        context, "storage",
        [out = options_.out, measure = context.first_of_host()] { return storage_facts(out, measure); });
    Findings out = judge_storage(context.places(), answers);
    if (std::any_of(answers.begin(), answers.end(), [](const auto& a) { return !a.has_facts(); })) return out;
    try {
      cluster::check_shared_folder(context.world, options_.out, kFolderPatience, context.meeting());
      out.push_back(ok("one folder", "OUT is the same folder for all ranks"));
    } catch (const Error& e) {
      out.push_back(failure("one folder", e.what(), "mount the same storage at the same path on every host"));
    }
    const VideoBytes video = bytes_of(card(), queued_ ? queued_->sample : std::vector<VideoSize>());
    const auto jobs = queued_ ? std::optional(queued_->jobs) : std::nullopt;
    out.push_back(judge_space(answers.front().facts.free_bytes, jobs, context.places().size(), video));
    return out;
  }

  std::optional<card::Card> card() const {
    if (options_.model.empty()) return std::nullopt;
    try {
      return card::read(options_.model);
    } catch (const Error&) {
      return std::nullopt;  // the model's own check says so
    }
  }

  Findings engine(Context& context) {
    const std::string device = on_gpus() ? devices_[static_cast<std::size_t>(context.world.rank())] : "cpu";
    const auto limit = context.patient.limit();
    engine_answers_ = gather_here<RendererFacts>(context, "engine", context.meeting() + limit,
                                                 [&] { return start_renderer(renderer_, device, limit); });
    Findings out = judge_renderers(context.places(), engine_answers_, base::kCommit);
    const auto cuda = values_of(engine_answers_, [](const RendererFacts& f) {
      const auto found = f.versions.find("cuda");
      return found == f.versions.end() ? std::string() : found->second;
    });
    const auto known = std::find_if(engine_answers_.begin(), engine_answers_.end(),
                                    [](const auto& answer) { return answer.has_facts(); });
    if (known == engine_answers_.end()) return out;
    const auto at = static_cast<std::size_t>(known - engine_answers_.begin());
    out.push_back(judge_driver(context.places(), gpu_answers_, cuda[at], on_gpus()));
    return out;
  }

  Findings model(Context& context) {
    if (options_.model.empty()) return {not_checked("model", "no --model")};
    const auto cards = gather<CardFacts>(context, "model", [folder = options_.model, looks = context.first_of_host()] {
      return looks ? card_facts(folder) : CardFacts();
    });
    std::uint64_t most = 0;
    bool readable = true;
    for (const auto& answer : cards) {
      most = std::max(most, answer.facts.bytes);
      readable = readable && answer.has_facts();
    }
    if (!readable) return judge_model(context.places(), cards, {});
    const auto limit = context.patient.limit() + reading_limit(most);
    const auto digests = gather_here<DigestFacts>(context, "model", limit + context.meeting(), [&] {
      return context.first_of_host() ? digest_facts(renderer_, options_.model, limit) : DigestFacts();
    });
    return judge_model(context.places(), cards, digests);
  }

  Findings group(Context& context) {
    const std::string check = on_gpus() ? "nccl" : "group";
    if (devices_.empty()) return {not_checked(check, "the ranks have no GPUs to meet on: see gpus")};
    for (const auto& answer : engine_answers_) {
      const bool fit = answer.has_facts() && answer.facts.gpu_problem.empty();
      if (!fit) return {not_checked(check, "not every rank has a renderer on its device: see engine")};
    }
    const bool needed = options_.ranks_per_video > 1;
    if (!sharing_.empty()) return {judge_sharing(sharing_, needed)};
    GroupPlan plan;
    plan.group_size = needed ? options_.ranks_per_video : 0;
    plan.gpu = on_gpus();
    plan.bytes = plan.gpu ? 0 : kSmallExchange;
    plan.roads = roads_;
    return judge_groups(context.places(), probe_groups(context, renderer_, plan), plan.gpu, needed);
  }

  int conclude(Context& context) {
    int code = exit_code(notes_.report());
    if (context.first()) show();
    if (!lost_) {
      try {
        code = std::stoi(exchange(context, std::to_string(code), "the exit code", context.meeting()).front());
        return code;
      } catch (const Lost&) {
        code = failed();
      }
    }
    // A rank that ends makes mpirun end the others: rank 0 first.
    if (!context.first()) std::this_thread::sleep_for(kBeforeRankZero);
    hooks_.leave(code);
    return code;
  }

  void too_late(const std::string& doing) {
    const bool speaks = launcher_rank_ == 0;
    if (!speaks) std::this_thread::sleep_for(kWorldDeadline);  // rank 0 may need longer to see that something hangs
    notes_.add(
        {failure(doing, "rank 0 hangs in it",
                 "the system calls of this check do not return: a dead file system, a driver, or a launcher that "
                 "waits for a host")});
    give_up();
  }

  // Without a word to the other ranks. Rank 0 first: a rank that ends makes mpirun end the others.
  void give_up() {
    if (launcher_rank_ == 0) {
      show();
    } else {
      std::this_thread::sleep_for(kBeforeRankZero);
    }
    hooks_.leave(failed());
  }

  void show() {
    if (!silent_ && !shown_.exchange(true)) hooks_.show(notes_.report());
  }

  Options options_;
  const Hooks& hooks_;
  cluster::DeviceRequest request_;
  cluster::Environment environment_;
  std::string launcher_;  // this and the next: before MPI starts, which sets variables of its own
  int launcher_rank_;
  Notes notes_;
  ProbeRenderer renderer_;
  std::vector<Answer<GpuFacts>> gpu_answers_;
  std::vector<Answer<RendererFacts>> engine_answers_;
  std::vector<std::string> devices_;  // of each rank; empty: there is no map
  std::string sharing_;               // see GpuJudgement
  std::vector<Road> roads_;
  std::optional<Queued> queued_;
  bool lost_ = false;
  std::atomic<bool> silent_ = false;
  std::atomic<bool> shown_ = false;
  bool left_behind_ = false;
  int code_ = 0;
  Watchdog watchdog_;  // last: it uses the above
};

}  // namespace

int examine(const Options& options, const Hooks& hooks) {
  return Examination(options, hooks)();
}

}  // namespace nightreel::doctor
