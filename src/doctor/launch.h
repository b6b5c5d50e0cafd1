// Did the launcher do what was meant? MPI, the number of ranks, hosts, CPU binding, variables that have no effect.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "doctor/ranks.h"
#include "nightreel/cluster/gpu.h"

namespace nightreel::doctor {

struct LaunchFacts {
  std::string mpi;        // "Open MPI v4.1.4, …"
  std::string launcher;   // mpirun, srun, pmi, none
  std::string singleton;  // why this rank's world is not the one that was launched; empty: it is
  std::string host_file;  // the launcher's default one, where the environment names it and it can be read
  int host_file_hosts = 0;
  int slurm_hosts = 0;  // of the allocation; 0: no Slurm job
  int usable_cpus = 1;  // that this process may run on
  int online_cpus = 1;
  std::string program;                      // version and commit of nightreel
  std::vector<std::string> without_effect;  // variables of another setup that are set
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(LaunchFacts, mpi, launcher, singleton, host_file, host_file_hosts, slurm_hosts,
                                   usable_cpus, online_cpus, program, without_effect)

/// `launcher`: as it was before MPI started, which sets variables of its own.
LaunchFacts launch_facts(int world_size, const std::string& launcher, const cluster::Environment& environment);

/// How many different hosts a host file of Open MPI or MPICH names.
int count_hosts(const std::string& host_file_text);

Findings judge_launch(const Places& places, const std::vector<Answer<LaunchFacts>>& answers,
                      const std::optional<int>& expect_ranks);

}  // namespace nightreel::doctor
