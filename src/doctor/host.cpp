#include "doctor/host.h"

#include <sys/resource.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>

#include "nightreel/base/clock.h"

namespace nightreel::doctor {
namespace {

constexpr std::uint64_t kMiB = 1U << 20U;
constexpr std::uint64_t kEnoughShm = 512 * kMiB;  // Docker's default is 64 MiB; NCCL takes some 10 MiB a pair of ranks
constexpr std::uint64_t kAny = std::numeric_limits<std::uint64_t>::max();
constexpr int kRounds = 10;
constexpr double kNoticeable_s = 1;    // in logs, in `--deadline @07:00`
constexpr double kHarmful_s = 5 * 60;  // certificates, ages of temporary files

std::string mebibytes(std::uint64_t bytes) {
  return bytes == kAny ? "unlimited" : std::to_string(bytes / kMiB) + " MiB";
}

Finding judge_shm(const Places& places, const std::vector<Answer<HostFacts>>& answers, bool on_gpus) {
  std::vector<int> small;
  std::uint64_t least = kAny;
  for (std::size_t r = 0; r < answers.size(); ++r) {
    const auto& facts = answers[r].facts;
    least = std::min(least, facts.shm_free);
    if (facts.shm_free < kEnoughShm && places[r].local_size > 1) small.push_back(static_cast<int>(r));
  }
  if (small.empty()) return ok("shm", "/dev/shm has " + mebibytes(least) + " free or more");
  const std::string text = "/dev/shm of " + names_of(places, small) + " has " + mebibytes(least) + " free";
  const char* fix =
      "in a pod mount an emptyDir with medium: Memory at /dev/shm; Docker: --shm-size=1g; else remove what dead "
      "processes left in it";
  // MPI between ranks of one host needs little of it, NCCL much.
  if (!on_gpus && least >= 16 * kMiB) return ok("shm", text + ", enough for MPI");
  return on_gpus && least < 16 * kMiB ? failure("shm", text, fix) : warning("shm", text, fix);
}

Finding judge_memlock(const Places& places, const std::vector<Answer<HostFacts>>& answers) {
  const auto tight = ranks_where(answers, [](const HostFacts& f) { return f.infiniband && f.memlock_bytes != kAny; });
  const std::string limit = mebibytes(answers.front().facts.memlock_bytes);
  if (tight.empty()) {
    const bool infiniband = answers.front().facts.infiniband;
    return ok("memlock", "limit " + limit + (infiniband ? ", with InfiniBand" : "; only InfiniBand needs more"));
  }
  return warning("memlock", names_of(places, tight) + " may lock " + limit + ", and the host has InfiniBand",
                 "ulimit -l unlimited (limits.conf, LimitMEMLOCK of slurmd or containerd, --ulimit memlock=-1)");
}

}  // namespace

HostFacts host_facts() {
  HostFacts facts;
  struct statvfs shm {};
  if (::statvfs("/dev/shm", &shm) == 0) {
    facts.shm_bytes = static_cast<std::uint64_t>(shm.f_blocks) * shm.f_frsize;
    facts.shm_free = static_cast<std::uint64_t>(shm.f_bavail) * shm.f_frsize;
  }
  rlimit limit{};
  if (::getrlimit(RLIMIT_MEMLOCK, &limit) == 0) {
    facts.memlock_bytes = limit.rlim_cur == RLIM_INFINITY ? kAny : limit.rlim_cur;
  }
  std::error_code error;
  const std::filesystem::directory_iterator devices("/sys/class/infiniband", error);
  facts.infiniband = !error && devices != std::filesystem::directory_iterator();
  return facts;
}

Findings judge_host(const Places& places, const std::vector<Answer<HostFacts>>& answers, bool on_gpus) {
  Findings out = failures_of("host", places, answers, "see /dev/shm and /proc on that host");
  if (out.empty()) out = {judge_shm(places, answers, on_gpus), judge_memlock(places, answers)};
  return out;
}

// Rank 0 looks at its clock before a call that tells all ranks to look at theirs, and after the call that brings it
// what they saw: their look lies between the two. The shortest of several rounds counts.
std::vector<Skew> measure_skews(const Context& context) {
  std::vector<Skew> best(context.places().size());
  for (auto& skew : best) skew.uncertainty_s = std::numeric_limits<double>::max();
  for (int round = 0; round < kRounds; ++round) {
    exchange(context, "", "clock", context.meeting());  // all are here: what follows is short
    const std::int64_t before = base::now_ms();
    const base::Stopwatch watch;
    exchange(context, "", "clock", context.meeting());
    const auto seen = exchange(context, std::to_string(base::now_ms()), "clock", context.meeting());
    const double half_s = watch.seconds() / 2;
    for (std::size_t r = 0; r < seen.size(); ++r) {
      if (half_s >= best[r].uncertainty_s) continue;
      best[r] = {static_cast<double>(std::stoll(seen[r]) - before) / 1000 - half_s, half_s};
    }
  }
  if (!best.empty()) best.front() = {0, 0};
  return best;
}

Finding judge_clocks(const Places& places, const std::vector<Skew>& skews) {
  std::vector<int> late;
  double worst_s = 0;
  double uncertainty_s = 0;
  for (std::size_t r = 0; r < skews.size(); ++r) {
    const double certain_s = std::max(0.0, std::abs(skews[r].offset_s) - skews[r].uncertainty_s);
    if (certain_s > kNoticeable_s) late.push_back(static_cast<int>(r));
    worst_s = std::max(worst_s, certain_s);
    uncertainty_s = std::max(uncertainty_s, skews[r].uncertainty_s);
  }
  if (places.size() < 2) return not_checked("clock", "one rank has nobody to compare its clock with");
  if (late.empty()) {
    return ok("clock", "all clocks within " + std::to_string(std::lround(1000 * (worst_s + uncertainty_s))) + " ms");
  }
  const std::string text =
      names_of(places, late) + ": up to " + base::human_duration(worst_s) + " from the clock of rank 0";
  const char* fix = "let chrony or ntpd run on every host (timedatectl set-ntp true)";
  return worst_s > kHarmful_s ? failure("clock", text, fix) : warning("clock", text, fix);
}

}  // namespace nightreel::doctor
