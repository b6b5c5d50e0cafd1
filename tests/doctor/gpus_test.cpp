#include "doctor/gpus.h"

#include "doctor/support.h"

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

TEST_CASE("each rank's GPU is told by UUID, name and memory") {
  const Places places = places_of({2});
  const auto judged = judge_gpus(places, seeing(places, {{"GPU-0", "GPU-1"}, {"GPU-0", "GPU-1"}}));
  check_says(judged.findings, "gpus", Level::ok, {"rank 0: GPU-0 (H100, 80 GiB)", "rank 1: GPU-1"});
  check_says(judged.findings, "peer access", Level::ok);
  check_says(judged.findings, "gpu load", Level::ok);
  CHECK(judged.devices == std::vector<std::string>{"GPU-0", "GPU-1"});
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
