// The lists of components, made of their configurations alone, against the goldens' files and against what diffusers
// keeps in float32.
#include "nightreel/model/checkpoint.h"

#include <doctest/doctest.h>

#include "nightreel/card/checkpoint.h"
#include "nightreel/weights/weights.h"
#include "support/error.h"
#include "support/golden.h"

using namespace nightreel;
using test::contains;
using weights::ListedTensor;
using weights::Use;
using weights::WeightMap;

namespace {

/// `look`(component, list) for those of every golden checkpoint.
template <class Look>
void each_list(const Look& look) {
  const auto cases = test::golden_cases("vae.safetensors");
  REQUIRE(cases.size() >= 6);
  for (const std::string& name : cases) {
    CAPTURE(name);
    const std::string folder = test::golden_path(name + "/model");
    const weights::ListOf lists = model::lists_of(folder);
    for (const std::string& component : card::components_of(folder)) {
      CAPTURE(component);
      look(folder + "/" + component, lists(component));
    }
  }
}

bool is_matrix(const ListedTensor& tensor) {
  return tensor.shape.size() == 2 && tensor.name.ends_with(".weight");
}

/// _keep_in_fp32_modules of diffusers' WanTransformer3DModel, and its FP32LayerNorms.
bool diffusers_keeps_in_float32(const std::string& name) {
  return contains(name, "time_embedder.") || contains(name, "scale_shift_table") || contains(name, ".norm2.") ||
         contains(name, "image_embedder.norm");
}

}  // namespace

TEST_CASE("a component's configuration tells every tensor of its files, and every tensor that they must have") {
  std::size_t strays = 0;
  each_list([&](const std::string& folder, const weights::TensorList& list) {
    const WeightMap weights = WeightMap::open(folder);
    for (const std::string& tensor : weights.names()) {
      CAPTURE(tensor);
      REQUIRE(list.find(tensor) != nullptr);
      strays += list.find(tensor)->use == Use::stray ? 1U : 0U;
    }
    for (const ListedTensor& tensor : list.tensors()) {
      CAPTURE(tensor.name);
      if (tensor.use == Use::stray) continue;
      REQUIRE(weights.has(weights.name_of(tensor)));
      CHECK(weights.stored(weights.name_of(tensor)).shape == tensor.shape);
    }
  });
  CHECK(strays >= 3);  // CLIP's positions and projection, a transformer's norm of added queries
}

TEST_CASE("a transformer's list tells what is computed with in float32, what its blocks are, and what may be fp8") {
  std::size_t matrices = 0;
  each_list([&](const std::string& folder, const weights::TensorList& list) {
    if (!contains(folder, "/model/transformer")) return;
    for (const ListedTensor& tensor : list.tensors()) {
      CAPTURE(tensor.name);
      const bool block = tensor.name.rfind("blocks.", 0) == 0;
      CHECK(tensor.float32 == diffusers_keeps_in_float32(tensor.name));
      CHECK(tensor.block == block);
      CHECK(tensor.fp8 == (block && is_matrix(tensor)));
      CHECK_FALSE(tensor.as_stored);
      matrices += tensor.fp8 ? 1U : 0U;
    }
  });
  CHECK(matrices > 0);
}

TEST_CASE("the other components' lists tell what may be fp8, what is never converted, and what nobody looks at") {
  std::size_t unused = 0;
  each_list([&](const std::string& folder, const weights::TensorList& list) {
    const bool text = folder.ends_with("/text_encoder");
    if (contains(folder, "/model/transformer")) return;
    for (const ListedTensor& tensor : list.tensors()) {
      CAPTURE(tensor.name);
      const bool layer = contains(tensor.name, ".SelfAttention.") || contains(tensor.name, ".DenseReluDense.");
      const bool bias = contains(tensor.name, "relative_attention_bias");
      CHECK(tensor.fp8 == (text && layer && !bias));
      CHECK(tensor.as_stored == folder.ends_with("/vae"));
      CHECK(tensor.on_host == (tensor.name == "shared.weight"));
      unused += tensor.use == Use::unused ? 1U : 0U;
    }
  });
  CHECK(unused >= 18);  // CLIP's last layer and the norm behind it
}
