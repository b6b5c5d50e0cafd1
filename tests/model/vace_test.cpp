// VACE's control branch, which reuses the transformer's blocks, against diffusers: the transformer's seams carry it.
#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include "model/vace.h"
#include "support/golden.h"

using namespace nightreel;
using test::Golden;

namespace {

constexpr double kVaceTolerance = 1e-5;

std::vector<double> numbers(const at::Tensor& tensor) {
  std::vector<double> list;
  for (std::int64_t i = 0; i < tensor.numel(); ++i) list.push_back(tensor[i].item<double>());
  return list;
}

}  // namespace

TEST_CASE(
    "blocks beside the transformer's add their control: diffusers' velocities, for every scale and list of layers") {
  const auto cases = test::golden_cases("vace.safetensors");
  CHECK(cases.size() >= 2);
  for (const std::string& name : cases) {
    const Golden golden(name + "/vace");
    const test::ControlledTransformer loaded = test::load_controlled(test::golden_path(name + "/transformer"), {});
    REQUIRE(golden.has("output_1"));
    for (const bool keep_keys : {false, true}) {
      const model::TransformerText text = loaded.transformer.prepare_text(golden.tensor("text"), keep_keys);
      for (int n = 0; golden.has("output_" + std::to_string(n)); ++n) {
        const std::string suffix = "_" + std::to_string(n);
        loaded.branch->control(golden.tensor("control"), numbers(golden.tensor("scales" + suffix)));
        const at::Tensor velocity =
            loaded.transformer.forward(golden.tensor("latents"), golden.tensor("timestep"), text);
        CHECK(test::reported_error(name + suffix, velocity, golden.tensor("output" + suffix)) < kVaceTolerance);
      }
    }
    // The scales make a difference, or the test would prove nothing.
    CHECK(test::relative_error(golden.tensor("output_0"), golden.tensor("output_1")) > 0.01);
  }
}

TEST_CASE("a transformer with a branch lists the branch's weights among its own") {
  test::ControlledTransformer loaded =
      test::load_controlled(test::golden_path(test::golden_cases("vace.safetensors").at(0) + "/transformer"), {});
  std::size_t found = 0;
  for (const model::Parameter& parameter : loaded.transformer.parameters()) {
    if (parameter.parts[0].name.rfind("vace_", 0) == 0) ++found;
  }
  model::ParameterList list(at::kFloat);
  loaded.branch->parameters(list);
  CHECK(found == list.take().size());
  CHECK(found > 0);
}
