// VACE's control branch over a group of ranks that shard the transformer's blocks and share out the tokens.
#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <doctest/doctest.h>

#include "comm/store_group.h"
#include "model/vace.h"
#include "support/golden.h"

using namespace nightreel;
using test::Golden;
using test::kLong;

namespace {

constexpr double kVaceTolerance = 1e-5;
const std::string kCase = "vace_three";

at::Tensor velocity(const test::ControlledTransformer& loaded, const model::SequenceParallel& sequence) {
  const Golden golden(kCase + "/vace");
  loaded.branch->control(golden.tensor("control"), {1, 1, 1});
  const model::TransformerText text = loaded.transformer.prepare_text(golden.tensor("text"), /*keep_keys=*/false);
  return loaded.transformer.forward(golden.tensor("latents"), golden.tensor("timestep"), text, {}, sequence);
}

}  // namespace

TEST_CASE("1, 2 and 3 ranks, each with a share of tokens and blocks, give the controlled velocity of one") {
  const at::Tensor expected = Golden(kCase + "/vace").tensor("output_0");  // scales of 1
  for (const int size : {1, 2, 3}) {
    CAPTURE(size);
    const auto outcomes = test::in_group(size, kLong, [&](comm::Communicator& group) {
      const c10::InferenceMode inference;
      model::TransformerOptions options;
      options.seat = {group.rank(), group.size()};
      test::ControlledTransformer loaded = test::load_controlled(test::golden_path(kCase + "/transformer"), options);
      loaded.transformer.gather_over(&group);
      model::SequenceParallel sequence(group, loaded.transformer.config().num_attention_heads);
      const double error = test::relative_error(velocity(loaded, sequence), expected);
      sequence.finalize();
      group.finalize();
      return error < kVaceTolerance ? std::string("end") : std::to_string(error);
    });
    for (const std::string& outcome : outcomes) CHECK(outcome == "end");
  }
}
