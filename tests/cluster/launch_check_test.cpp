#include "nightreel/cluster/launch_check.h"

#include <doctest/doctest.h>

#include <map>

#include "cluster/environment.h"
#include "nightreel/base/error.h"

using namespace nightreel;
using test::environment_of;
using Variables = std::map<std::string, std::string>;

TEST_CASE("a launch is what was asked for and what the launcher promised, or a reason") {
  struct Case {
    const char* name;
    int size;
    std::optional<int> expected;
    Variables variables;
    const char* error;  // empty: fine
  };
  const Variables batch_shell{{"SLURM_JOB_ID", "9"}, {"SLURM_NTASKS", "4"}, {"SLURM_PROCID", "0"}};
  const std::vector<Case> cases{
      {"alone", 1, std::nullopt, {}, ""},
      {"as many as expected", 4, 4, {{"OMPI_COMM_WORLD_SIZE", "4"}}, ""},
      {"fewer than expected", 4, 8, {{"OMPI_COMM_WORLD_SIZE", "4"}}, "--expect-ranks 8, but MPI started 4 ranks"},
      {"more than expected", 2, 1, {}, "--expect-ranks 1, but MPI started 2 ranks"},
      {"one of eight, no launcher", 1, 8, {}, "--expect-ranks 8, but MPI started 1 rank:"},
      {"another MPI's mpirun",
       1,
       std::nullopt,
       {{"OMPI_COMM_WORLD_SIZE", "4"}},
       "4 ranks or more (OMPI_COMM_WORLD_SIZE)"},
      {"Hydra", 1, std::nullopt, {{"PMI_SIZE", "2"}, {"PMI_RANK", "0"}}, "(PMI_SIZE)"},
      {"PMIx, no size", 1, std::nullopt, {{"PMIX_RANK", "3"}}, "4 ranks or more (PMIX_RANK)"},
      {"PMIx rank 0 cannot tell", 1, std::nullopt, {{"PMIX_RANK", "0"}}, ""},
      {"srun without PMI",
       1,
       std::nullopt,
       {{"SLURM_STEP_ID", "0"}, {"SLURM_PROCID", "1"}, {"SLURM_STEP_NUM_TASKS", "4"}},
       "(SLURM_STEP_NUM_TASKS)"},
      {"srun of one",
       1,
       std::nullopt,
       {{"SLURM_STEP_ID", "0"}, {"SLURM_PROCID", "0"}, {"SLURM_STEP_NUM_TASKS", "1"}},
       ""},
      {"alone in a batch shell of four", 1, std::nullopt, batch_shell, ""},
      {"alone in a batch shell of one", 1, 1, {{"SLURM_NTASKS", "1"}, {"SLURM_PROCID", "0"}}, ""},
      {"mpirun -np 1 whose daemons are a step of four",
       1,
       std::nullopt,
       {{"OMPI_COMM_WORLD_SIZE", "1"}, {"SLURM_STEP_ID", "0"}, {"SLURM_PROCID", "2"}, {"SLURM_STEP_NUM_TASKS", "4"}},
       ""},
      {"no number", 1, std::nullopt, {{"OMPI_COMM_WORLD_SIZE", "many"}}, ""},
  };
  for (const Case& one : cases) {
    CAPTURE(one.name);
    std::string error;
    try {
      cluster::check_launch(one.size, one.expected, environment_of(one.variables));
    } catch (const base::Error& e) {
      error = e.what();
      CHECK(base::traits(e.kind()).exit_code == 3);
    }
    CHECK(error.empty() == std::string(one.error).empty());
    CHECK_MESSAGE(error.find(one.error) != std::string::npos, error);
  }
}

TEST_CASE("the launcher's kind and job are labels from its variables") {
  CHECK(cluster::launcher(environment_of({})) == "none");
  CHECK(cluster::launcher(environment_of({{"OMPI_COMM_WORLD_SIZE", "1"}})) == "mpirun");
  CHECK(cluster::launcher(
            environment_of({{"SLURM_STEP_ID", "0"}, {"SLURM_PROCID", "0"}, {"SLURM_STEP_NUM_TASKS", "2"}})) == "srun");
  CHECK(cluster::launcher(environment_of({{"PMI_RANK", "0"}})) == "pmi");
  CHECK(cluster::launcher_job_id(environment_of({})) == "");
  CHECK(cluster::launcher_job_id(environment_of({{"SLURM_JOB_ID", "12"}})) == "12");
  CHECK(cluster::launcher_job_id(environment_of(
            {{"SLURM_JOB_ID", "13"}, {"SLURM_ARRAY_JOB_ID", "12"}, {"SLURM_ARRAY_TASK_ID", "7"}})) == "12_7");
}
