#include "doctor/renderers.h"

#include "doctor/group.h"
#include "doctor/support.h"

namespace nightreel::doctor {
namespace {

RendererFacts sound_renderer() {
  return {"", {{"commit", "abc"}, {"libtorch", "2.11.0"}, {"cuda", "13.0"}, {"nccl", "2.28.9"}}, "AVX2", "NVIDIA H100"};
}

TEST_CASE("engines of one build on CPUs of one kind are fine") {
  const Places places = places_of({1, 1});
  const auto findings = judge_renderers(places, all_say(places, sound_renderer()), "abc");
  check_says(findings, "engine", Level::ok, {"libtorch 2.11.0, cuda 13.0, nccl 2.28.9"});
  check_says(findings, "cpu", Level::ok, {"AVX2"});
}

TEST_CASE("each way in which engines do not fit is named") {
  const Places places = places_of({1, 1});
  struct Case {
    const char* check;
    Level level;
    void (*change)(std::vector<Answer<RendererFacts>>&);
    std::vector<std::string> says;
  };
  const std::vector<Case> cases{{"engine",
                                 Level::failure,
                                 [](auto& a) { a[1].facts.versions["nccl"] = "2.30.3"; },
                                 {"nccl", "2.28.9 (rank 0 on host a); 2.30.3 (rank 1 on host b)", "one build"}},
                                {"engine",
                                 Level::failure,
                                 [](auto& a) {
                                   for (auto& one : a) one.facts.versions["commit"] = "def";
                                 },
                                 {"nightreel (abc) and nightreel-engine (def)"}},
                                {"engine",
                                 Level::failure,
                                 [](auto& a) { a[0].problem = "its renderer ended: exit code 127"; },
                                 {"rank 0 on host a: its renderer ended", "libexec"}},
                                {"engine",
                                 Level::failure,
                                 [](auto& a) { a[1].facts.gpu_problem = "GPU-1: CUDA finds no such GPU"; },
                                 {"rank 1 on host b: GPU-1: CUDA finds no such GPU", "nvidia-smi"}},
                                {"cpu",
                                 Level::warning,
                                 [](auto& a) { a[1].facts.cpu_capability = "AVX512"; },
                                 {"AVX2 (rank 0 on host a); AVX512 (rank 1 on host b)", "ATEN_CPU_CAPABILITY"}}};
  for (const auto& one : cases) {
    auto answers = all_say(places, sound_renderer());
    one.change(answers);
    check_says(judge_renderers(places, answers, "abc"), one.check, one.level, one.says);
  }
  auto none = all_say(places, sound_renderer());
  for (auto& answer : none) answer.problem = "cannot be started";
  check_says(judge_renderers(places, none, "abc"), "engine", Level::failure, {"rank 0 on host a, rank 1 on host b"});
}

TEST_CASE("the exchanges that Wan needs divide among any group, and hold the tokens") {
  for (const int size : {1, 2, 3, 4, 7, 8, 64, 1024}) {
    for (const auto& transfer : wan_transfers(size)) {
      CAPTURE(size);
      CAPTURE(transfer.name);
      CHECK(transfer.elements >= 1);
      if (transfer.verb == "all_to_all") CHECK(transfer.elements % size == 0);
    }
  }
  // 832x480 with 81 frames has 32,760 tokens, 1280x720 has 75,600; 40 heads of 128.
  CHECK(wan_transfers(8)[0].elements == 32760 / 8 * 5120);
  CHECK(wan_transfers(8)[1].elements == 75600 / 8 * 5120);
  CHECK(wan_transfers(1)[0].elements == 32760 * 5120);
  CHECK(plain_transfers(3, 1000)[0].elements == 501);
  CHECK(plain_transfers(3, 1000)[1].elements == 500);
  CHECK(plain_transfers(3, 1)[1].elements == 1);
}

GroupFacts member(int group, double seconds, bool correct = true) {
  return {group,      {"attention", "weights"}, {"all_to_all", "all_gather"},
          {800, 100}, {seconds, seconds},       {correct, correct},
          ""};
}

TEST_CASE("a group is as fast as its slowest member, and right when all are") {
  std::vector<Answer<GroupFacts>> answers{{member(0, 1), ""}, {member(0, 2), ""}, {member(1, 4), ""}};
  auto results = group_results(answers);
  REQUIRE(results.size() == 4);
  CHECK(results[0].size == 2);
  CHECK(results[0].seconds == doctest::Approx(2));
  CHECK(results[0].gigabytes_a_second() == doctest::Approx(800e-9 / 2 / 2));  // half of it goes to the other
  CHECK(results[1].gigabytes_a_second() == doctest::Approx(100e-9 / 2));      // the other's share comes whole
  CHECK(results[2].size == 1);
  CHECK(results[2].gigabytes_a_second() == doctest::Approx(0));
  answers[1].facts.correct = {true, false};
  results = group_results(answers);
  CHECK(results[0].correct);
  CHECK_FALSE(results[1].correct);
  answers[0].problem = "gone";
  CHECK(group_results(answers).size() == 4);
}

TEST_CASE("renderers that do not meet fail where a group is asked for, and are warned of elsewhere") {
  const Places places = places_of({2});
  std::vector<Answer<GroupFacts>> answers{{member(0, 1), ""}, {member(0, 1), ""}};
  for (const bool needed : {false, true}) {
    check_says(judge_groups(places, answers, true, needed), "nccl", Level::ok,
               {"2 renderers met over NCCL", "all_to_all of attention"});
  }
  check_says(judge_groups(places, answers, false, true), "group", Level::ok, {"over the store, "});
  answers[0].facts.listens = "10.1.2.3";
  check_says(judge_groups(places, answers, false, true), "group", Level::ok, {"over the store at 10.1.2.3, "});
  answers[1].problem = "nccl, rank 1 of 2, the set-up: not finished within 60000 ms";
  check_says(judge_groups(places, answers, true, true), "nccl", Level::failure,
             {"rank 1 on host a: nccl", "NCCL_DEBUG"});
  check_says(judge_groups(places, answers, true, false), "nccl", Level::warning,
             {"rank 1 on host a: nccl", "runs of one rank a video go on", "NCCL_DEBUG"});
}

TEST_CASE("wrong bytes fail also where no group is asked for: ranks read the weights together") {
  const Places places = places_of({2});
  std::vector<Answer<GroupFacts>> answers{{member(0, 1), ""}, {member(0, 1), ""}};
  answers[0].facts.correct = {false, true};
  for (const bool needed : {false, true}) {
    check_says(judge_groups(places, answers, true, needed), "nccl", Level::failure,
               {"all_to_all of attention", "wrong bytes"});
  }
}

TEST_CASE("ranks that share a GPU fail where a group is asked for, and are not made to meet elsewhere") {
  const std::string sharing = "ranks 0, 1 on host a share the GPU GPU-0";
  check_says({judge_sharing(sharing, false)}, "nccl", Level::not_checked, {"share the GPU GPU-0", "they need not"});
  check_says({judge_sharing(sharing, true)}, "nccl", Level::failure, {"share the GPU GPU-0", "one rank a GPU"});
}

}  // namespace
}  // namespace nightreel::doctor
