#include "nightreel/cluster/launch_check.h"

#include "nightreel/base/error.h"

namespace nightreel::cluster {
namespace {

struct Promise {
  std::string variable;
  long ranks = 0;  // 0: none made
};

std::optional<long> number(const Environment& environment, const std::string& name) {
  const auto text = environment(name);
  const bool digits =
      text && !text->empty() && text->size() < 10 && text->find_first_not_of("0123456789") == std::string::npos;
  return digits ? std::optional<long>(std::stol(*text)) : std::nullopt;
}

// A batch or salloc shell has SLURM_NTASKS and SLURM_PROCID too; only tasks of a step have the step's own.
bool in_step(const Environment& environment) {
  return environment("SLURM_STEP_ID") && environment("SLURM_PROCID") && environment("SLURM_STEP_NUM_TASKS");
}

// The innermost launcher speaks: under sbatch, mpirun's daemons are a Slurm step whose variables the ranks inherit.
Promise promise(const Environment& environment) {
  if (const auto ranks = number(environment, "OMPI_COMM_WORLD_SIZE")) return {"OMPI_COMM_WORLD_SIZE", *ranks};
  if (const auto ranks = number(environment, "PMI_SIZE")) return {"PMI_SIZE", *ranks};
  if (in_step(environment)) {
    return {"SLURM_STEP_NUM_TASKS", number(environment, "SLURM_STEP_NUM_TASKS").value_or(0)};
  }
  for (const char* name : {"PMIX_RANK", "PMI_RANK"}) {
    const long rank = number(environment, name).value_or(0);
    if (rank > 0) return {name, rank + 1};
  }
  return {};
}

}  // namespace

std::string launcher(const Environment& environment) {
  if (environment("OMPI_COMM_WORLD_SIZE")) return "mpirun";
  if (in_step(environment)) return "srun";
  return environment("PMI_SIZE") || environment("PMI_RANK") || environment("PMIX_RANK") ? "pmi" : "none";
}

int launcher_rank(const Environment& environment) {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK"}) {
    if (const auto rank = number(environment, name)) return static_cast<int>(*rank);
  }
  return in_step(environment) ? static_cast<int>(number(environment, "SLURM_PROCID").value_or(0)) : 0;
}

std::string launcher_job_id(const Environment& environment) {
  const auto array = environment("SLURM_ARRAY_JOB_ID");
  const auto task = environment("SLURM_ARRAY_TASK_ID");
  if (array && task) return *array + "_" + *task;
  return environment("SLURM_JOB_ID").value_or("");
}

void check_launch(int mpi_size, const std::optional<int>& expected_ranks, const Environment& environment) {
  const Promise promised = promise(environment);
  if (mpi_size == 1 && promised.ranks > 1) {
    throw base::Error(base::ErrorKind::environment,
                      "the launcher started " + std::to_string(promised.ranks) + " ranks or more (" +
                          promised.variable +
                          "), MPI knows one: start with the mpirun of the MPI that nightreel was built with, or with "
                          "srun --mpi=pmix");
  }
  if (expected_ranks && *expected_ranks != mpi_size) {
    throw base::Error(base::ErrorKind::environment, "--expect-ranks " + std::to_string(*expected_ranks) +
                                                        ", but MPI started " + std::to_string(mpi_size) +
                                                        (mpi_size == 1 ? " rank" : " ranks") +
                                                        ": see the launcher's host file, -np or --ntasks");
  }
}

}  // namespace nightreel::cluster
