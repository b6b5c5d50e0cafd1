#include "doctor/launch.h"

#include "doctor/support.h"
#include "support/temp_folder.h"

namespace nightreel::doctor {
namespace {

LaunchFacts sound_launch() {
  LaunchFacts facts;
  facts.mpi = "Open MPI v4.1.4";
  facts.launcher = "mpirun";
  facts.usable_cpus = 8;
  facts.online_cpus = 8;
  facts.program = "1.0 (abc)";
  return facts;
}

TEST_CASE("a sound launch says who started what, where") {
  const Places places = places_of({2, 1});
  const Findings findings = judge_launch(places, all_say(places, sound_launch()), 3);
  check_says(findings, "mpi", Level::ok, {"Open MPI v4.1.4", "by mpirun", "3 ranks on 2 hosts", "a: 2, b: 1"});
  check_says(findings, "ranks", Level::ok, {"3, as expected"});
  check_says(findings, "hosts", Level::not_checked);
  check_says(findings, "binding", Level::ok, {"8 CPUs"});
  check_says(findings, "variables", Level::ok);
  check_says(findings, "program", Level::ok, {"1.0 (abc)"});
}

TEST_CASE("each way in which a launch goes wrong is named, with its fix") {
  const Places places = places_of({2, 2});
  struct Case {
    const char* check;
    Level level;
    void (*change)(std::vector<Answer<LaunchFacts>>&);
    std::vector<std::string> says;
  };
  const std::vector<Case> cases{
      {"mpi",
       Level::failure,
       [](auto& a) { a[0].facts.singleton = "MPI knows one"; },
       {"MPI knows one", "srun --mpi=pmix"}},
      {"mpi", Level::failure, [](auto& a) { a[3].facts.mpi = "MPICH 4"; }, {"MPICH 4 (rank 3 on host b)"}},
      {"mpi",
       Level::failure,
       [](auto& a) { a[1].problem = "no answer within 5 s"; },
       {"rank 1 on host a: no answer within 5 s"}},
      {"hosts",
       Level::warning,
       [](auto& a) {
         a[0].facts.host_file = "/etc/mpi/hostfile";
         a[0].facts.host_file_hosts = 4;
       },
       {"/etc/mpi/hostfile names 4 hosts", "are on 2", "--hostfile"}},
      {"hosts", Level::warning, [](auto& a) { a[0].facts.slurm_hosts = 3; }, {"Slurm gave this job 3", "srun"}},
      {"hosts", Level::ok, [](auto& a) { a[0].facts.slurm_hosts = 2; }, {"2"}},
      {"binding", Level::warning, [](auto& a) { a[2].facts.usable_cpus = 1; }, {"rank 2 on host b", "--bind-to none"}},
      {"program", Level::failure, [](auto& a) { a[1].facts.program = "1.0 (def)"; }, {"1.0 (def) (rank 1 on host a)"}},
      {"variables",
       Level::warning,
       [](auto& a) {
         for (auto& one : a) one.facts.without_effect = {"RANK", "MASTER_ADDR"};
       },
       {"without effect", "RANK, MASTER_ADDR (ranks 0, 1 on host a, ranks 2, 3 on host b)", "MPI says"}},
  };
  for (const auto& one : cases) {
    auto answers = all_say(places, sound_launch());
    one.change(answers);
    check_says(judge_launch(places, answers, std::nullopt), one.check, one.level, one.says);
  }
  check_says(judge_launch(places, all_say(places, sound_launch()), 8), "ranks", Level::failure,
             {"8 were expected, MPI started 4", "host file"});
  check_says(judge_launch(places, all_say(places, sound_launch()), std::nullopt), "ranks", Level::not_checked);
}

TEST_CASE("one CPU is no fault where the host has one") {
  const Places places = places_of({1});
  LaunchFacts facts = sound_launch();
  facts.usable_cpus = facts.online_cpus = 1;
  check_says(judge_launch(places, all_say(places, facts), std::nullopt), "binding", Level::ok);
}

TEST_CASE("hosts of a host file are counted once each, comments and slots apart") {
  CHECK(count_hosts("") == 0);
  CHECK(count_hosts("# nothing\n\n") == 0);
  CHECK(count_hosts("a slots=8\nb slots=8 # the old one\r\na slots=1\n  c:4\n") == 3);
}

TEST_CASE("the environment tells the facts of a launch") {
  const test::TempFolder folder;
  const std::string file = folder.write("hosts", "a\nb\n");
  const LaunchFacts facts = launch_facts(1, "mpirun",
                                         environment_of({{"OMPI_COMM_WORLD_SIZE", "4"},
                                                         {"PRTE_MCA_prte_default_hostfile", file},
                                                         {"SLURM_JOB_NUM_NODES", "3"},
                                                         {"WORLD_SIZE", "4"},
                                                         {"TOTAL_WORKERS", "4"},
                                                         {"REDIS_HOST", "r"}}));
  CHECK(facts.launcher == "mpirun");
  CHECK(facts.mpi.find(',') == std::string::npos);
  CHECK(facts.singleton.find("MPI knows one") != std::string::npos);
  CHECK(facts.host_file == file);
  CHECK(facts.host_file_hosts == 2);
  CHECK(facts.slurm_hosts == 3);
  CHECK(facts.without_effect == std::vector<std::string>{"WORLD_SIZE", "TOTAL_WORKERS"});
  CHECK(facts.usable_cpus >= 1);
  const LaunchFacts plain = launch_facts(
      1, "none",
      environment_of({{"SLURM_JOB_NUM_NODES", "many"}, {"OMPI_MCA_orte_default_hostfile", "/no such file"}}));
  CHECK(plain.launcher == "none");
  CHECK(plain.singleton.empty());
  CHECK(plain.host_file.empty());
  CHECK(plain.slurm_hosts == 0);
}

}  // namespace
}  // namespace nightreel::doctor
