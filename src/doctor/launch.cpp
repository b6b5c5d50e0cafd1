#include "doctor/launch.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <set>
#include <sstream>

#include "nightreel/base/build_version.h"
#include "nightreel/base/error.h"
#include "nightreel/base/file.h"
#include "nightreel/cluster/launch_check.h"

namespace nightreel::doctor {
namespace {

// Of Ray Serve, torchrun and their like. Nothing here reads them (docs/from-ray-serve.md).
constexpr const char* kWithoutEffect[] = {"RANK",         "WORLD_SIZE",         "LOCAL_RANK",  "LOCAL_WORLD_SIZE",
                                          "GROUP_RANK",   "ROLE_RANK",          "NODE_RANK",   "MASTER_ADDR",
                                          "MASTER_PORT",  "TOTAL_WORKERS",      "RAY_ADDRESS", "RAY_SERVE_REPLICA_ID",
                                          "NUM_REPLICAS", "TORCHELASTIC_RUN_ID"};
// Open MPI 4, Open MPI 5.
constexpr const char* kHostFiles[] = {"OMPI_MCA_orte_default_hostfile", "PRTE_MCA_prte_default_hostfile"};
constexpr std::size_t kLongestHostFile = 1U << 20U;

int whole_number(const std::optional<std::string>& text) {
  const bool digits =
      text && !text->empty() && text->size() < 8 && text->find_first_not_of("0123456789") == std::string::npos;
  return digits ? std::stoi(*text) : 0;
}

void find_host_file(const cluster::Environment& environment, LaunchFacts& facts) {
  for (const char* variable : kHostFiles) {
    const auto path = environment(variable);
    if (!path || path->empty()) continue;
    try {
      facts.host_file_hosts = count_hosts(base::read_file(*path, kLongestHostFile));
      facts.host_file = *path;
    } catch (const base::Error&) {
      // It lies on the launcher's host alone: nothing to compare with.
    }
  }
}

int usable_cpus(int online) {
  cpu_set_t set;
  CPU_ZERO(&set);
  return ::sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : online;
}

std::vector<std::string> host_names(const Places& places) {
  std::vector<std::string> names;
  for (const auto& place : places) {
    if (place.local_rank == 0) names.push_back(place.host);
  }
  return names;
}

// "a: 4, b: 4".
std::string ranks_of_hosts(const Places& places) {
  std::string text;
  for (const auto& place : places) {
    if (place.local_rank == 0)
      text += (text.empty() ? "" : ", ") + place.host + ": " + std::to_string(place.local_size);
  }
  return text;
}

Finding judge_mpi(const Places& places, const std::vector<Answer<LaunchFacts>>& answers) {
  const auto versions = values_of(answers, [](const LaunchFacts& f) { return f.mpi; });
  const auto& first = answers.front().facts;
  for (const auto& answer : answers) {
    if (answer.facts.singleton.empty()) continue;
    return failure("mpi", answer.facts.singleton + "; this MPI is " + answer.facts.mpi,
                   "start with the mpirun of the MPI that nightreel was built with, or with srun --mpi=pmix (srun "
                   "--mpi=list says whether Slurm has it)");
  }
  if (differ(versions)) {
    return failure("mpi", "the hosts have different MPI libraries: " + spread(places, versions),
                   "install one MPI on all hosts");
  }
  const std::string how = first.launcher == "none" ? "started without a launcher" : "started by " + first.launcher;
  return ok("mpi", first.mpi + ", " + how + ", " + plural(static_cast<std::int64_t>(places.size()), "rank") + " on " +
                       plural(static_cast<std::int64_t>(host_names(places).size()), "host") + " (" +
                       ranks_of_hosts(places) + ")");
}

Finding judge_count(std::size_t ranks, const std::optional<int>& expected) {
  if (!expected) return not_checked("ranks", "no --expect-ranks; there are " + std::to_string(ranks));
  if (static_cast<std::size_t>(*expected) == ranks) return ok("ranks", std::to_string(ranks) + ", as expected");
  return failure("ranks", std::to_string(*expected) + " were expected, MPI started " + std::to_string(ranks),
                 "see the launcher's host file and its slots, -np or --ntasks");
}

Finding judge_hosts(const Places& places, const LaunchFacts& facts) {
  const auto hosts = static_cast<int>(host_names(places).size());
  if (facts.host_file_hosts > hosts) {
    return warning("hosts",
                   "the host file " + facts.host_file + " names " + std::to_string(facts.host_file_hosts) +
                       " hosts, the ranks are on " + std::to_string(hosts),
                   "give mpirun --hostfile FILE and -np; Open MPI 4 reads OMPI_MCA_orte_default_hostfile, Open MPI 5 "
                   "PRTE_MCA_prte_default_hostfile");
  }
  if (facts.slurm_hosts > hosts) {
    return warning("hosts",
                   "Slurm gave this job " + std::to_string(facts.slurm_hosts) + " hosts, the ranks are on " +
                       std::to_string(hosts),
                   "start with srun --ntasks-per-node=N, or with an mpirun that was built with Slurm support");
  }
  if (facts.host_file_hosts == 0 && facts.slurm_hosts == 0) {
    return not_checked("hosts", "neither Slurm nor a default host file says how many there should be");
  }
  return ok("hosts", "as many as the launcher was given: " + std::to_string(hosts));
}

Finding judge_binding(const Places& places, const std::vector<Answer<LaunchFacts>>& answers) {
  const auto bound =
      ranks_where(answers, [](const LaunchFacts& f) { return f.usable_cpus < std::min(2, f.online_cpus); });
  if (bound.empty()) {
    return ok("binding", "each rank may use " + std::to_string(answers.front().facts.usable_cpus) + " CPUs or more");
  }
  return warning("binding", names_of(places, bound) + " may use one CPU alone: all threads of a renderer share it",
                 "mpirun --bind-to none, or srun --cpu-bind=none with --cpus-per-task");
}

Finding judge_variables(const Places& places, const std::vector<Answer<LaunchFacts>>& answers) {
  const auto set = values_of(answers, [](const LaunchFacts& f) {
    std::string names;
    for (const auto& name : f.without_effect) names += (names.empty() ? "" : ", ") + name;
    return names;
  });
  if (std::all_of(set.begin(), set.end(), [](const auto& names) { return names.empty(); })) {
    return ok("variables", "none of Ray Serve's or torchrun's is set");
  }
  return warning("variables", "without effect here: " + spread(places, set),
                 "leave them out: MPI says who is which rank, and --redis, REDIS_URL or REDIS_HOST where the queue is "
                 "(docs/from-ray-serve.md)");
}

Finding judge_program(const Places& places, const std::vector<Answer<LaunchFacts>>& answers) {
  const auto programs = values_of(answers, [](const LaunchFacts& f) { return f.program; });
  if (!differ(programs)) return ok("program", "nightreel " + programs.front() + " on all ranks");
  return failure("program", "the ranks run different builds: " + spread(places, programs),
                 "install one build on all hosts");
}

}  // namespace

int count_hosts(const std::string& host_file_text) {
  std::set<std::string> hosts;
  std::istringstream lines(host_file_text);
  for (std::string line; std::getline(lines, line);) {
    std::string name = line.substr(0, line.find('#'));
    name.erase(0, name.find_first_not_of(" \t\r"));
    name = name.substr(0, name.find_first_of(" \t\r:"));
    if (!name.empty()) hosts.insert(name);
  }
  return static_cast<int>(hosts.size());
}

LaunchFacts launch_facts(int world_size, const std::string& launcher, const cluster::Environment& environment) {
  LaunchFacts facts;
  facts.mpi = cluster::mpi_version();
  facts.mpi = facts.mpi.substr(0, facts.mpi.find(','));  // "Open MPI v4.1.4", without who packed it
  facts.launcher = launcher;
  try {
    cluster::check_launch(world_size, std::nullopt, environment);
  } catch (const base::Error& e) {
    facts.singleton = e.what();
  }
  find_host_file(environment, facts);
  facts.slurm_hosts = whole_number(environment("SLURM_JOB_NUM_NODES"));
  facts.online_cpus = static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN));
  facts.usable_cpus = usable_cpus(facts.online_cpus);
  facts.program = std::string(base::kVersion) + " (" + base::kCommit + ")";
  for (const char* name : kWithoutEffect) {
    if (environment(name)) facts.without_effect.push_back(name);
  }
  return facts;
}

Findings judge_launch(const Places& places, const std::vector<Answer<LaunchFacts>>& answers,
                      const std::optional<int>& expect_ranks) {
  Findings out = failures_of("mpi", places, answers, "see the line above it in the log");
  if (!out.empty()) return out;
  return {judge_mpi(places, answers),
          judge_count(places.size(), expect_ranks),
          judge_hosts(places, answers.front().facts),
          judge_binding(places, answers),
          judge_program(places, answers),
          judge_variables(places, answers)};
}

}  // namespace nightreel::doctor
