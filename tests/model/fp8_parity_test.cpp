// A transformer whose weights are held in fp8 against one that was given the same numbers in float32.
#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include "nightreel/base/json.h"
#include "nightreel/model/checkpoint.h"
#include "nightreel/model/transformer.h"
#include "nightreel/ops/quantised.h"
#include "nightreel/weights/convert.h"
#include "nightreel/weights/weights.h"
#include "support/golden.h"
#include "support/temp_folder.h"

using namespace nightreel;
using test::Golden;

namespace {

const std::vector<std::string> kConverted{"clip", "experts", "plain"};

model::Transformer held_in(const std::string& folder, bool fp8, at::ScalarType dtype = at::kFloat) {
  const std::string path = folder + "/config.json";
  weights::WeightMap weights = weights::WeightMap::open(folder);
  model::Transformer transformer(card::parse_transformer_config(base::read_json(path), path), weights,
                                 {at::kCPU, dtype, fp8});
  weights.expect_all_taken();
  return transformer;
}

std::string converted(const std::string& name, const test::TempFolder& folder) {
  weights::ConvertOptions options;
  options.from = test::golden_path(name + "/model");
  options.to = folder / name;
  options.precision = weights::Precision::fp8;
  weights::convert_checkpoint(options, model::lists_of(options.from));
  return options.to + "/transformer";
}

at::Tensor answer(const model::Transformer& transformer, const std::string& name) {
  const Golden golden(name + "/transformer");
  const at::Tensor image = golden.has("image_0") ? golden.tensor("image_0") : at::Tensor();
  const model::TransformerText text = transformer.prepare_text(golden.tensor("text_0"), false, image);
  return transformer.forward(golden.tensor("latents_0"), golden.tensor("timestep_0"), text);
}

}  // namespace

TEST_CASE("a checkpoint in fp8 that is held in fp8 answers as if its weights had been brought back beforehand") {
  const test::TempFolder folder;
  for (const std::string& name : kConverted) {
    CAPTURE(name);
    const std::string path = converted(name, folder);
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
      CHECK(at::equal(answer(held_in(path, true, dtype), name), answer(held_in(path, false, dtype), name)));
    }
  }
}

TEST_CASE("a checkpoint is rounded to fp8 as it is loaded: what convert writes, and near the float32 answer") {
  const test::TempFolder folder;
  for (const std::string& name : kConverted) {
    CAPTURE(name);
    const std::string path = test::golden_path(name + "/model/transformer");
    model::Transformer narrow = held_in(path, true);
    model::Transformer written = held_in(converted(name, folder), true);
    model::Transformer wide = held_in(path, false);
    const at::Tensor exact = answer(wide, name);
    const std::vector<model::Parameter> held = narrow.parameters();
    const std::vector<model::Parameter> stored = written.parameters();
    const std::vector<model::Parameter> exchanged = wide.parameters();
    std::size_t matrices = 0;
    for (std::size_t i = 0; i < held.size(); ++i) {
      if (!held[i].fp8) continue;
      ++matrices;
      CHECK(at::equal(held[i].tensor->view(at::kByte), stored[i].tensor->view(at::kByte)));
      CHECK(at::equal(held[i].linear->scale, stored[i].linear->scale));
      *exchanged[i].tensor = ops::dequantise({*held[i].tensor, held[i].linear->scale});
    }
    CHECK(matrices >= 6 * static_cast<std::size_t>(wide.config().num_layers));
    const at::Tensor ours = answer(narrow, name);
    CHECK(at::equal(ours, answer(wide, name)));
    const double error = test::reported_error(name + " fp8", ours, exact);
    CHECK(error > 1e-3);
    CHECK(error < 0.1);
  }
}
