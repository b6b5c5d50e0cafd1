// Every sampler against diffusers' scheduler of that kind: schedule and samples, step by step.
#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <filesystem>
#include <set>

#include "nightreel/sample/sampler.h"
#include "support/golden.h"

using namespace nightreel;

namespace {

std::set<std::string> recorded_trajectories() {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(test::golden_path("samplers"))) {
    if (entry.path().extension() == ".json") names.insert("samplers/" + entry.path().stem().string());
  }
  return names;
}

/// ours, as a tensor, is theirs but for one rounding of a float32.
void check_equal(const std::vector<float>& ours, const at::Tensor& theirs) {
  const at::Tensor ours_N = at::tensor(ours);
  REQUIRE(ours_N.sizes() == theirs.sizes());
  CHECK(at::allclose(ours_N, theirs, 1.5e-7, 0));
}

void check_trajectory(const std::string& name) {
  CAPTURE(name);
  const test::Golden golden(name);
  const auto run = golden.settings();
  const sample::Method method = sample::method_of(run.at("sampler"));
  const sample::Schedule schedule =
      sample::make_schedule({method, run.at("steps"), run.at("flow_shift"), run.at("given_sigmas")}, 1000);
  check_equal(schedule.sigmas, golden.tensor("sigmas"));
  check_equal(schedule.timesteps, golden.tensor("timesteps"));

  const auto sampler = sample::make_sampler(method, schedule);
  at::Tensor sample = golden.tensor("sample");
  for (std::int64_t i = 0; i < run.at("steps").get<std::int64_t>(); ++i) {
    sample = sampler->step(golden.tensor("answer." + std::to_string(i)), i, sample);
    CHECK(test::relative_error(sample, golden.tensor("step." + std::to_string(i))) < 1e-6);
  }
}

}  // namespace

TEST_CASE("every sampler walks diffusers' schedule and gives its samples") {
  const std::set<std::string> names = recorded_trajectories();
  CHECK(names.size() == 3 * (15 + 3));
  for (const std::string& name : names) check_trajectory(name);
}
