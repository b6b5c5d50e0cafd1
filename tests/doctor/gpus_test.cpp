#include "doctor/gpus.h"

#include <cstdlib>

#include "doctor/support.h"
#include "nightreel/base/error.h"
#include "support/temp_folder.h"

namespace nightreel::doctor {
namespace {

using cluster::DeviceRequest;

// Each rank sees `gpus[r]`; NVML shows it the same.
std::vector<Answer<GpuFacts>> seeing(const Places& places, const std::vector<std::vector<std::string>>& gpus,
                                     DeviceRequest request = DeviceRequest::automatic) {
  std::vector<Answer<GpuFacts>> answers;
  for (std::size_t r = 0; r < places.size(); ++r) {
    cluster::RankFacts own;
    own.rank = static_cast<int>(r);
    own.host = places[r].host;
    own.host_index = places[r].host_index;
    own.local_rank = places[r].local_rank;
    own.request = request;
    for (const auto& uuid : gpus.at(r)) own.gpus.push_back({uuid, "H100", 80ULL << 30U});
    GpuFacts facts;
    facts.own = cluster::to_json(own);
    facts.nvml = true;
    facts.driver = "580.65.06";
    facts.cuda = 13000;
    facts.seen = gpus.at(r);
    answers.push_back({facts, ""});
  }
  return answers;
}

// What the ranks find out, and send each other, where tests/cluster's stand-in for NVML reads `json`.
std::vector<Answer<GpuFacts>> looking(const Places& places, const std::string& json, DeviceRequest request) {
  const test::TempFolder folder;
  ::setenv("NIGHTREEL_FAKE_NVML", folder.write("nvml.json", json).c_str(), 1);
  const auto environment = environment_of({{"NIGHTREEL_NVML_LIBRARY", FAKE_NVML_PATH}});
  std::vector<Answer<GpuFacts>> answers;
  for (std::size_t r = 0; r < places.size(); ++r) {
    ::setenv("OMPI_COMM_WORLD_RANK", std::to_string(r).c_str(), 1);
    try {
      const nlohmann::json sent = gpu_facts(static_cast<int>(r), places[r], request, false, environment);
      answers.push_back({sent.get<GpuFacts>(), ""});
    } catch (const base::Error& e) {
      answers.push_back({{}, e.what()});
    }
  }
  ::unsetenv("OMPI_COMM_WORLD_RANK");
  return answers;
}

TEST_CASE("each rank's GPU is told by UUID, name and memory") {
  const Places places = places_of({2});
  const auto judged = judge_gpus(places, seeing(places, {{"GPU-0", "GPU-1"}, {"GPU-0", "GPU-1"}}));
  check_says(judged.findings, "gpus", Level::ok, {"rank 0: GPU-0 (H100, 80 GiB)", "rank 1: GPU-1"});
  check_says(judged.findings, "peer access", Level::ok);
  check_says(judged.findings, "gpu load", Level::ok);
  CHECK(judged.devices == std::vector<std::string>{"GPU-0", "GPU-1"});
}

TEST_CASE("what NVML shows each rank is judged: GPUs that do not fit, each with its fix") {
  const std::string four =
      R"("default": [{"uuid": "GPU-a0"}, {"uuid": "GPU-a1"}, {"uuid": "GPU-a2"}, {"uuid": "GPU-a3"}])";
  struct Case {
    std::string name;
    int ranks;
    std::string nvml;
    DeviceRequest request;
    const char* check;
    Level level;
    std::vector<std::string> says;
  };
  constexpr auto kAuto = DeviceRequest::automatic;
  const std::vector<Case> cases{
      {"GPUs that fit", 4, four, kAuto, "gpus", Level::ok, {"rank 3: GPU-a3 (Stand-in GPU, 24 GiB)"}},
      {"two ranks on one GPU",
       2,
       R"("ranks": {"0": [{"uuid": "GPU-a0"}], "1": [{"uuid": "GPU-a0"}]})",
       kAuto,
       "gpus",
       Level::failure,
       {"ranks 0, 1 on host a", "GPU-a0", "--share-gpu"}},
      {"more ranks than GPUs", 5, four, kAuto, "gpus", Level::failure, {"5 ranks for 4 GPUs", "one rank a GPU"}},
      {"a driver that does not work",
       2,
       R"("fail": 18)",
       kAuto,
       "gpus",
       Level::failure,
       {"ranks 0, 1 on host a", "version mismatch", "nvidia-smi"}},
      {"cuda without a GPU", 1, "", DeviceRequest::cuda, "gpus", Level::failure, {"sees no GPU", "--gpus-per-node"}},
      {"no GPU", 1, "", kAuto, "gpus", Level::warning, {"on the CPU", "--device cpu"}},
      {"an old driver",
       2,
       four + R"(, "cuda": 12040)",
       kAuto,
       "driver",
       Level::failure,
       {"driver 580.0 of ranks 0, 1", "CUDA 12.4", "install driver 580"}},
      {"a launcher that hides peers",
       2,
       R"("ranks": {"0": [{"uuid": "GPU-a0"}], "1": [{"uuid": "GPU-a1"}]})",
       kAuto,
       "peer access",
       Level::warning,
       {"ranks 0, 1", "--gpu-bind=none"}},
      {"a GPU that is busy",
       1,
       R"("default": [{"uuid": "GPU-a0", "pids": [17]}])",
       kAuto,
       "gpu load",
       Level::warning,
       {"GPU-a0"}}};
  for (const auto& one : cases) {
    CAPTURE(one.name);
    const Places places = places_of({one.ranks});
    const auto answers = looking(places, "{" + one.nvml + "}", one.request);
    const auto judged = judge_gpus(places, answers);
    Findings findings = judged.findings;
    if (!judged.devices.empty()) {
      findings.push_back(judge_driver(places, answers, "13.0", judged.devices.front() != "cpu"));
    }
    check_says(findings, one.check, one.level, one.says);
    CHECK(judged.devices.empty() == (std::string(one.check) == "gpus" && one.level == Level::failure));
  }
}

TEST_CASE("two ranks on one GPU fail, with the fix, and there is no map") {
  const Places places = places_of({2});
  const auto judged = judge_gpus(places, seeing(places, {{"GPU-0"}, {"GPU-0"}}));
  check_says(judged.findings, "gpus", Level::failure, {"ranks 0, 1 on host a", "GPU-0", "--share-gpu"});
  CHECK(judged.devices.empty());
}

TEST_CASE("a rank without a GPU beside one that has some fails") {
  const Places places = places_of({1, 1});
  const auto judged = judge_gpus(places, seeing(places, {{"GPU-0"}, {}}));
  check_says(judged.findings, "gpus", Level::failure, {"none on host b", "--gpus-per-node"});
}

TEST_CASE("a driver that does not answer fails for the ranks that met it") {
  const Places places = places_of({2});
  auto answers = seeing(places, {{"GPU-0"}, {"GPU-0"}});
  answers[1] = {{}, "NVML: cannot start: Driver/library version mismatch"};
  check_says(judge_gpus(places, answers).findings, "gpus", Level::failure, {"rank 1 on host a: NVML", "nvidia-smi"});
}

TEST_CASE("no GPU is a warning unless the CPU was asked for") {
  const Places places = places_of({1});
  auto answers = seeing(places, {{}});
  check_says(judge_gpus(places, answers).findings, "gpus", Level::warning, {"rendered on the CPU", "--device cpu"});
  answers[0].facts.seen = {"GPU-0"};
  answers[0].facts.visible = "7";
  check_says(judge_gpus(places, answers).findings, "gpus", Level::warning, {"CUDA_VISIBLE_DEVICES hides"});
  const auto asked = judge_gpus(places, seeing(places, {{}}, DeviceRequest::cpu));
  check_says(asked.findings, "gpus", Level::ok, {"--device cpu"});
  CHECK(asked.devices == std::vector<std::string>{"cpu"});
}

TEST_CASE("a launcher that shows each task its own GPU alone hides peers; CUDA_VISIBLE_DEVICES alone does not") {
  const Places places = places_of({2, 1});
  auto bound = seeing(places, {{"GPU-0"}, {"GPU-1"}, {"GPU-2"}});
  check_says(judge_gpus(places, bound).findings, "peer access", Level::warning,
             {"hidden from ranks 0, 1 on host a", "--gpu-bind=none"});
  for (auto& answer : bound) answer.facts.seen = {"GPU-0", "GPU-1", "GPU-2"};
  check_says(judge_gpus(places, bound).findings, "peer access", Level::ok);
}

TEST_CASE("somebody else's work on a rank's GPU is a warning, on another GPU it is not") {
  const Places places = places_of({1});
  auto answers = seeing(places, {{"GPU-0", "GPU-1"}});
  answers[0].facts.busy = {"GPU-1"};
  check_says(judge_gpus(places, answers).findings, "gpu load", Level::ok);
  answers[0].facts.busy = {"GPU-0"};
  check_says(judge_gpus(places, answers).findings, "gpu load", Level::warning, {"GPU-0 of rank 0"});
}

TEST_CASE("the driver is held against the engine's CUDA") {
  const Places places = places_of({1, 1});
  struct Case {
    int cuda;
    const char* engine;
    Level level;
    std::vector<std::string> says;
  };
  const std::vector<Case> cases{
      {13000, "13.0", Level::ok, {"speaks CUDA 13.0"}},
      {13020, "13.0", Level::ok, {"speaks CUDA 13.2"}},
      {13000, "13.2", Level::ok, {}},  // within a major version CUDA promises compatibility
      {12040, "13.0", Level::failure, {"speaks CUDA 12.4, nightreel-engine was built with 13.0", "driver 580"}},
      {11080, "12.6", Level::failure, {"driver 525"}},
      {0, "13.0", Level::ok, {"580.65.06"}},
      {13000, "", Level::failure, {"built without CUDA"}}};
  for (const auto& one : cases) {
    auto answers = seeing(places, {{"GPU-0"}, {"GPU-1"}});
    for (auto& answer : answers) answer.facts.cuda = one.cuda;
    check_says({judge_driver(places, answers, one.engine, true)}, "driver", one.level, one.says);
  }
  auto answers = seeing(places, {{"GPU-0"}, {"GPU-1"}});
  answers[1].facts.driver = "575.0";
  check_says({judge_driver(places, answers, "13.0", true)}, "driver", Level::warning, {"575.0 (rank 1 on host b)"});
  check_says({judge_driver(places, answers, "13.0", false)}, "driver", Level::not_checked);
}

}  // namespace
}  // namespace nightreel::doctor
