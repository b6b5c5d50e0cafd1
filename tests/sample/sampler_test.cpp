#include "nightreel/sample/sampler.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "support/error.h"

using namespace nightreel;
using sample::Method;
using test::contains;
using test::error_of;

namespace {

constexpr std::int64_t kTrainSteps = 1000;
constexpr Method kMethods[]{Method::unipc, Method::dpm_plus_plus, Method::euler};

sample::Schedule schedule_of(Method method, std::int64_t steps, double flow_shift) {
  return sample::make_schedule({method, steps, flow_shift, {}}, kTrainSteps);
}

}  // namespace

TEST_CASE("every schedule falls to 0; its time steps are diffusers'") {
  struct Case {
    Method method;
    std::vector<float> timesteps;
  };
  for (const Case& c : {Case{Method::unipc, {999, 900, 750, 500}}, Case{Method::dpm_plus_plus, {999, 899, 749, 499}},
                        Case{Method::euler, {1000, 857.6923F, 602.1506F, 8.928572F}}}) {
    const sample::Schedule schedule = schedule_of(c.method, 4, 3.0);
    REQUIRE(schedule.sigmas.size() == 5);
    REQUIRE(schedule.timesteps.size() == 4);
    for (std::size_t i = 0; i < 4; ++i) CHECK(schedule.timesteps[i] == doctest::Approx(c.timesteps[i]));
    for (std::size_t i = 1; i < 5; ++i) CHECK(schedule.sigmas[i] < schedule.sigmas[i - 1]);
    CHECK(schedule.sigmas[4] == 0);
  }
  CHECK(schedule_of(Method::unipc, 4, 3.0).sigmas[0] == doctest::Approx(1 - 1e-6));
}

TEST_CASE("sigmas that are given are walked down as they stand, whatever flow_shift says") {
  const std::vector<double> four{1, 0.9375, 0.8333, 0.625};  // of the models distilled to four steps
  for (const Method method : kMethods) {
    const sample::Schedule schedule = sample::make_schedule({method, 40, 5.0, four}, kTrainSteps);
    REQUIRE(schedule.sigmas.size() == 5);
    for (std::size_t i = 0; i < 4; ++i) CHECK(schedule.sigmas[i] == doctest::Approx(four[i]));
    CHECK(schedule.timesteps[1] == (method == Method::euler ? 937.5F : 937.0F));
  }
}

TEST_CASE("settings that make no schedule are refused") {
  const auto refusal = [](const sample::ScheduleSettings& settings) {
    return error_of(base::ErrorKind::job, [&] { sample::make_schedule(settings, kTrainSteps); });
  };
  for (const Method method : kMethods) {
    CHECK(contains(refusal({method, 0, 3.0, {}}), "num_inference_steps"));
    for (const double shift : {0.0, -1.0, std::nan(""), std::numeric_limits<double>::infinity()}) {
      CHECK(contains(refusal({method, 4, shift, {}}), "flow_shift"));
    }
    for (const std::vector<double>& sigmas :
         {std::vector<double>{0.5, 0.5}, {0.5, 0.75}, {1.5}, {0.5, 0}, {-0.5}, {std::nan("")}, {0.5, std::nan("")}}) {
      CHECK(contains(refusal({method, 4, 3.0, sigmas}), "sigmas"));
    }
  }
  const std::string message = error_of(base::ErrorKind::job, [] { sample::method_of("ddim\n"); });
  CHECK(contains(message, "ddim\\x0a"));
  CHECK(contains(message, "unipc, dpm++ and euler"));
}

TEST_CASE("a run that goes on from any saved state gives the same bits") {
  const std::int64_t steps = 6;
  std::vector<at::Tensor> answers;
  for (std::int64_t i = 0; i < steps; ++i) answers.push_back(at::randn({1, 3, 2, 4, 4}));
  for (const Method method : kMethods) {
    const sample::Schedule schedule = schedule_of(method, steps, 5.0);
    const auto sampler = sample::make_sampler(method, schedule);
    std::vector<sample::SamplerState> states{sampler->save()};
    std::vector<at::Tensor> samples{at::randn({1, 3, 2, 4, 4})};
    for (std::int64_t i = 0; i < steps; ++i) {
      samples.push_back(sampler->step(answers[static_cast<std::size_t>(i)], i, samples.back()));
      states.push_back(sampler->save());
    }
    for (std::size_t start = 0; start <= static_cast<std::size_t>(steps); ++start) {
      CAPTURE(start);
      const auto resumed = sample::make_sampler(method, schedule);
      resumed->restore(states[start]);
      at::Tensor sample = samples[start];
      for (std::size_t i = start; i < static_cast<std::size_t>(steps); ++i) {
        sample = resumed->step(answers[i], static_cast<std::int64_t>(i), sample);
      }
      CHECK(at::equal(sample, samples.back()));
    }
  }
}

TEST_CASE("states that are not this sampler's are refused") {
  const at::Tensor some = at::zeros({1, 2});
  struct Case {
    Method method;
    sample::SamplerState state;
    const char* says;
  };
  for (const Case& c : {Case{Method::unipc, {4, {}}, "step 4 of 3"}, Case{Method::unipc, {-1, {}}, "step -1"},
                        Case{Method::unipc, {1, {{"x0", some}}}, "last_sample"},
                        Case{Method::unipc, {1, {{"last_sample", some}}}, "x0"},
                        Case{Method::unipc, {2, {{"x0", some}, {"last_sample", some}}}, "previous_x0"},
                        Case{Method::unipc, {1, {{"x0", some.to(at::kLong)}, {"last_sample", some}}}, "x0"},
                        Case{Method::dpm_plus_plus, {4, {}}, "step 4 of 3"}, Case{Method::dpm_plus_plus, {1, {}}, "x0"},
                        Case{Method::euler, {4, {}}, "step 4 of 3"}, Case{Method::euler, {-1, {}}, "step -1"}}) {
    const auto sampler = sample::make_sampler(c.method, schedule_of(c.method, 3, 5.0));
    CHECK(contains(error_of(base::ErrorKind::storage, [&] { sampler->restore(c.state); }), c.says));
  }
}

TEST_CASE("steps out of order are a bug that is told") {
  const at::Tensor some = at::zeros({1, 2});
  for (const Method method : kMethods) {
    const auto sampler = sample::make_sampler(method, schedule_of(method, 1, 5.0));
    CHECK(contains(error_of(base::ErrorKind::internal, [&] { sampler->step(some, 1, some); }), "step 1"));
    sampler->step(some, 0, some);
    CHECK(contains(error_of(base::ErrorKind::internal, [&] { sampler->step(some, 1, some); }), "1 of 1"));
  }
}
