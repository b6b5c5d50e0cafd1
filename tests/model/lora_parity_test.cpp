// LoRAs of every key style against the weights that diffusers and peft merge, and back to the checkpoint's bits.
#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <filesystem>

#include "nightreel/base/hash.h"
#include "nightreel/base/json.h"
#include "nightreel/model/lora.h"
#include "nightreel/model/transformer.h"
#include "nightreel/ops/quantised.h"
#include "support/golden.h"

using namespace nightreel;
using test::Golden;

namespace {

const std::vector<std::string> kWithLoras{"clip", "experts", "plain"};

using Weights = std::map<std::string, at::Tensor>;  // Diffusers name -> the values, in the checkpoint's shape

/// An expert and what merges into it.
struct Expert {
  model::Transformer transformer;
  model::LoraMerger merger;

  static std::unique_ptr<Expert> load(const std::string& folder, at::ScalarType dtype = at::kFloat, bool fp8 = false) {
    if (!std::filesystem::exists(folder)) return nullptr;
    const std::string path = folder + "/config.json";
    weights::WeightMap weights = weights::WeightMap::open(folder);
    return std::unique_ptr<Expert>(
        new Expert(card::parse_transformer_config(base::read_json(path), path), std::move(weights), dtype, fp8));
  }

  Weights weights() {
    Weights all;
    for (const model::Parameter& parameter : transformer.parameters()) {
      if (parameter.tensor == nullptr) continue;
      std::int64_t row = 0;
      for (const auto& part : parameter.parts) {
        const at::Tensor values = parameter.tensor->narrow(0, row, part.shape[0]);
        all[part.name] = parameter.fp8
                             ? ops::dequantise({values, parameter.linear->scale.narrow(0, row, part.shape[0])})
                             : values.reshape(part.shape).clone();
        row += part.shape[0];
      }
    }
    return all;
  }

  std::string digest() {
    base::Xxh128 hash;
    for (const model::Parameter& parameter : transformer.parameters()) {
      model::each_tensor(parameter, [&](const at::Tensor& tensor) {
        const at::Tensor dense = tensor.contiguous();
        hash.update(dense.const_data_ptr(), dense.nbytes());
      });
    }
    return hash.hex_digest();
  }

 private:
  Expert(const card::TransformerConfig& config, weights::WeightMap weights, at::ScalarType dtype, bool fp8)
      : transformer(config, weights, {at::kCPU, dtype, fp8}), merger(transformer, std::move(weights)) {}
};

std::vector<std::string> sets_of(const std::string& name) {
  std::vector<std::string> sets;
  for (const auto& entry : std::filesystem::directory_iterator(test::golden_path(name))) {
    const std::string stem = entry.path().stem().string();
    if (stem.rfind("lora_", 0) == 0 && entry.path().extension() == ".json") sets.push_back(stem);
  }
  std::sort(sets.begin(), sets.end());
  return sets;
}

std::vector<model::LoraUse> uses_of(const std::string& name, const std::string& set, const std::string& expert) {
  std::vector<model::LoraUse> uses;
  const auto settings = Golden(name + "/" + set).settings();
  for (const auto& lora : settings.at("loras")) {
    if (lora.at("expert") != "both" && lora.at("expert") != expert) continue;
    const std::string path = test::golden_path(name + "/" + lora.at("path").get<std::string>());
    uses.push_back({model::LoraFile::open(path), lora.at("scale")});
  }
  return uses;
}

/// Every weight as diffusers has it: merged where the set changes it, else the checkpoint's own bits.
void check_merged(Expert& expert, const Weights& base, const Golden& golden, const std::string& part) {
  for (const auto& [name, tensor] : expert.weights()) {
    const std::string key = part + "." + name;
    if (!golden.has(key)) {
      CHECK_MESSAGE(at::equal(tensor, base.at(name)), key);
      continue;
    }
    const double error = test::relative_error(tensor, golden.tensor(key));
    CHECK_MESSAGE(error < 1e-6, key, " ", error);
    CHECK_MESSAGE(test::relative_error(base.at(name), golden.tensor(key)) > 1e-3, key);
  }
}

}  // namespace

TEST_CASE("each style's file, and each set, gives the weights that diffusers merges") {
  for (const std::string& name : kWithLoras) {
    for (const std::string part : {"transformer", "transformer_2"}) {
      const auto expert = Expert::load(test::golden_path(name + "/model/" + part));
      if (!expert) continue;
      const Weights base = expert->weights();
      const std::string digest = expert->digest();
      const auto sets = sets_of(name);
      CHECK(sets.size() >= 2);
      for (const std::string& set : sets) {
        CAPTURE(name);
        CAPTURE(set);
        const Golden golden(name + "/" + set);
        const auto uses = uses_of(name, set, part == "transformer" ? "high" : "low");
        CHECK(expert->merger.check(uses).empty());
        expert->merger.merge(uses);  // from the set before, or
        check_merged(*expert, base, golden, part);
        const std::string merged = expert->digest();
        CHECK((merged == digest) == uses.empty());
        expert->merger.merge({});
        CHECK(expert->digest() == digest);
        expert->merger.merge(uses);  // from the checkpoint: the same bits
        CHECK(expert->digest() == merged);
      }
    }
  }
}

TEST_CASE("the goldens name no weight that the transformer does not have") {
  for (const std::string& name : kWithLoras) {
    const auto expert = Expert::load(test::golden_path(name + "/model/transformer"));
    const Weights weights = expert->weights();
    const auto sets = sets_of(name);
    CHECK(sets.size() >= 2);
    for (const std::string& set : sets) {
      const auto file = weights::TensorFile::open_safetensors(test::golden_path(name + "/" + set + ".safetensors"));
      CHECK_FALSE(file.tensors().empty());
      for (const auto& [key, stored] : file.tensors()) CHECK(weights.count(key.substr(key.find('.') + 1)) == 1);
    }
  }
}

TEST_CASE("in bfloat16 the sum in float32 is rounded once, and undone bit for bit") {
  const auto expert = Expert::load(test::golden_path("plain/model/transformer"), at::kBFloat16);
  const std::string digest = expert->digest();
  const Golden golden("plain/lora_two");
  const auto uses = uses_of("plain", "lora_two", "high");
  expert->merger.merge(uses);
  std::size_t rounded = 0;
  for (const auto& [name, tensor] : expert->weights()) {
    if (!golden.has("transformer." + name)) continue;
    const at::Tensor exact = golden.tensor("transformer." + name);
    const double half_step = tensor.scalar_type() == at::kBFloat16 ? 1.0 / 256 : 0;
    if (half_step > 0) ++rounded;
    CHECK((((tensor.to(at::kFloat) - exact).abs() - half_step * 1.001 * exact.abs()).max().item<float>() < 1e-6F));
  }
  CHECK(rounded > 20);
  expert->merger.merge({});
  CHECK(expert->digest() == digest);
}

TEST_CASE("held in fp8 the sum in float32 is rounded once, and undone bit for bit") {
  const auto expert = Expert::load(test::golden_path("plain/model/transformer"), at::kFloat, /*fp8=*/true);
  const std::string digest = expert->digest();
  const Golden golden("plain/lora_two");
  const auto uses = uses_of("plain", "lora_two", "high");
  expert->merger.merge(uses);
  const std::string merged = expert->digest();
  CHECK(merged != digest);
  std::size_t rounded = 0;
  for (const auto& [name, tensor] : expert->weights()) {
    if (!golden.has("transformer." + name)) continue;
    const at::Tensor exact = golden.tensor("transformer." + name);
    const double error = test::relative_error(tensor, exact);
    if (error < 1e-6) continue;
    ++rounded;
    CHECK(name.rfind("blocks.", 0) == 0);
    // Half a step of three bits of mantissa; the smallest step is 2^-9 of a row's scale, its largest number / 448.
    const at::Tensor bound = at::maximum(exact.abs() / 16, exact.abs().amax(1, /*keepdim=*/true) / 448 / 1024);
    CHECK(((tensor - exact).abs() <= bound * 1.001 + 1e-6).all().item<bool>());
  }
  CHECK(rounded > 10);
  expert->merger.merge({});
  CHECK(expert->digest() == digest);
  expert->merger.merge(uses);
  CHECK(expert->digest() == merged);
}

TEST_CASE("weights that the set leaves as they are keep their place; the same set again touches none") {
  const auto expert = Expert::load(test::golden_path("plain/model/transformer"));
  const auto places = [&] {
    std::vector<const void*> list;
    for (const model::Parameter& parameter : expert->transformer.parameters()) {
      if (parameter.tensor != nullptr) list.push_back(parameter.tensor->const_data_ptr());
    }
    return list;
  };
  const auto before = places();
  const auto uses = uses_of("plain", "lora_peft_rslora", "high");  // five modules
  expert->merger.merge(uses);
  const auto merged = places();
  std::size_t moved = 0;
  for (std::size_t i = 0; i < before.size(); ++i) moved += before[i] != merged[i] ? 1 : 0;
  CHECK(moved > 0);
  CHECK(moved <= 5);
  expert->merger.merge(uses_of("plain", "lora_peft_rslora", "high"));
  CHECK(places() == merged);
}

TEST_CASE("what a merged transformer answers is undone with its weights") {
  const Golden golden("plain/transformer");
  const auto expert = Expert::load(test::golden_path("plain/model/transformer"));
  const auto answer = [&] {
    const model::TransformerText text = expert->transformer.prepare_text(golden.tensor("text_0"), true);
    return expert->transformer.forward(golden.tensor("latents_0"), golden.tensor("timestep_0"), text);
  };
  const at::Tensor before = answer();
  expert->merger.merge(uses_of("plain", "lora_two", "high"));
  CHECK(test::relative_error(answer(), before) > 1e-3);
  expert->merger.merge({});
  CHECK(at::equal(answer(), before));
}
