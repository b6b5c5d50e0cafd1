// LoRA files: every style of keys, and what a file can do wrong. They are foreign bytes.
#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <cstdlib>
#include <cstring>

#include "nightreel/base/json.h"
#include "nightreel/model/lora.h"
#include "nightreel/model/transformer.h"
#include "support/error.h"
#include "support/temp_folder.h"
#include "weights/checkpoint_files.h"

using namespace nightreel;
using model::LoraFile;
using test::TempFolder;
using Json = base::Json;

namespace {

struct Tensor {
  std::string name;
  std::vector<std::int64_t> shape;
  std::vector<float> values = {};  // empty: all 0.5
};

/// A safetensors file of tensors of four bytes a number, with this in the header's __metadata__.
std::string lora_bytes(const std::vector<Tensor>& tensors, const Json& metadata = {},
                       const std::string& dtype = "F32") {
  Json header = Json::object();
  std::string data;
  for (const Tensor& tensor : tensors) {
    std::size_t count = 1;
    for (const std::int64_t size : tensor.shape) count *= static_cast<std::size_t>(size);
    std::vector<float> values = tensor.values;
    values.resize(count, 0.5F);
    const std::size_t from = data.size();
    data.append(reinterpret_cast<const char*>(values.data()), 4 * count);
    header[tensor.name] = {{"dtype", dtype}, {"shape", tensor.shape}, {"data_offsets", {from, data.size()}}};
  }
  if (!metadata.is_null()) header["__metadata__"] = metadata;
  return test::file_bytes(header.dump(), data);
}

std::shared_ptr<const LoraFile> opened(const std::vector<Tensor>& tensors, const Json& metadata = {}) {
  const TempFolder folder;
  return LoraFile::open(folder.write("l.safetensors", lora_bytes(tensors, metadata)));
}

Json adapter(const Json& config) {
  return {{"lora_adapter_metadata", config.dump()}};
}

/// The message of the Error{job} that `call` throws: it begins with the field and names the file.
template <class Call>
std::string lora_refusal(Call call) {
  const std::string message = test::error_of(base::ErrorKind::job, call);
  CHECK(test::contains(message, "loras: /"));
  CHECK(test::contains(message, "l.safetensors: "));
  return message;
}

struct Small {
  model::Transformer transformer;
  model::LoraMerger merger;

  static Small load() {
    const std::string folder = std::string(std::getenv("NIGHTREEL_SOURCE_DIR")) + "/models/shapes/transformer";
    const std::string path = folder + "/config.json";
    weights::WeightMap weights = weights::WeightMap::open(folder);
    return Small(card::parse_transformer_config(base::read_json(path), path), std::move(weights));
  }

 private:
  Small(const card::TransformerConfig& config, weights::WeightMap weights)
      : transformer(config, weights, {at::kCPU, at::kFloat}), merger(transformer, std::move(weights)) {}
};

}  // namespace

TEST_CASE("each style of keys names a module, what it adds to, and its scaling") {
  struct Case {
    std::vector<Tensor> tensors;
    const char* module;
    const char* leaf;
    double factor;
  };
  const std::vector<std::int64_t> down{4, 8};
  const std::vector<std::int64_t> up{6, 4};
  const auto alpha = [](const char* name, float value) { return Tensor{name, {}, {value}}; };
  for (const Case& c : std::vector<Case>{
           {{{"transformer.a.b.lora_A.weight", down}, {"transformer.a.b.lora_B.weight", up}}, "a.b", "weight", 1},
           {{{"transformer.a.b.lora_A.default.weight", down}, {"transformer.a.b.lora_B.default.weight", up}},
            "a.b",
            "weight",
            1},
           {{{"lora_unet_a_b.lora_down.weight", down},
             {"lora_unet_a_b.lora_up.weight", up},
             alpha("lora_unet_a_b.alpha", 2)},
            "a_b",
            "weight",
            0.5},
           {{{"diffusion_model.a.b.lora_A.weight", down},
             {"diffusion_model.a.b.lora_B.weight", up},
             alpha("diffusion_model.a.b.alpha", 8)},
            "a.b",
            "weight",
            2},
           {{{"model.diffusion_model.a.lora_down.weight", down}, {"model.diffusion_model.a.lora_up.weight", up}},
            "a",
            "weight",
            1},
           {{{"a.b.lora.down.weight", down}, {"a.b.lora.up.weight", up}}, "a.b", "weight", 1},
           {{{"base_model.model.a.b.lora_A.weight", down}, {"base_model.model.a.b.lora_B.weight", up}},
            "a.b",
            "weight",
            1},
           {{{"transformer.base_model.model.a.lora_A.weight", down},
             {"transformer.base_model.model.a.lora_B.weight", up},
             alpha("transformer.base_model.model.a.alpha", 2)},
            "a",
            "weight",
            0.5},
           {{{"base_model.model.transformer.a.lora_A.weight", down},
             {"base_model.model.transformer.a.lora_B.weight", up}},
            "a",
            "weight",
            1},
           {{{"diffusion_model.a.diff", {3}}}, "a", "weight", 1},
           {{{"a.diff_b", {3}}}, "a", "bias", 1},
           {{{"diffusion_model.blocks.0.diff_m", {1, 6, 2}}}, "blocks.0", "table", 1},
       }) {
    CAPTURE(c.tensors[0].name);
    const auto file = opened(c.tensors);
    REQUIRE(file->changes().size() == 1);
    const model::LoraChange& change = file->changes()[0];
    CHECK(change.module == c.module);
    CHECK(change.leaf == c.leaf);
    CHECK(change.factor == c.factor);
    CHECK(change.down.defined() == (c.tensors.size() > 1));
    CHECK(change.difference.defined() == (c.tensors.size() == 1));
  }
}

TEST_CASE("the header's configuration scales what has no alpha of its own") {
  const std::vector<Tensor> tensors{{"transformer.x.a.lora_A.weight", {4, 8}},
                                    {"transformer.x.a.lora_B.weight", {6, 4}},
                                    {"transformer.x.a.lora_B.bias", {6}},
                                    {"transformer.y.lora_A.weight", {16, 8}},
                                    {"transformer.y.lora_B.weight", {6, 16}}};
  const auto factors = [&](const Json& config) {
    std::vector<double> list;
    const auto file = opened(tensors, adapter(config));
    for (const auto& change : file->changes()) list.push_back(change.factor);
    return list;
  };
  using List = std::vector<double>;
  CHECK(factors(Json::object()) == List{1, 1, 1});
  CHECK(factors({{"transformer.lora_alpha", 8}, {"transformer.alpha_pattern", nullptr}}) == List{2, 2, 0.5});
  CHECK(factors({{"transformer.lora_alpha", 8}, {"transformer.use_rslora", true}}) == List{4, 4, 2});
  CHECK(factors({{"transformer.alpha_pattern", {{"a", 2}}}}) == List{0.5, 0.5, 1});
  CHECK(factors({{"transformer.alpha_pattern", {{"^a", 2}, {"^y", 4}}}}) == List{1, 1, 0.25});
  CHECK(factors({{"transformer.alpha_pattern", {{"x.a", 2}, {"xx.a", 3}}}}) == List{0.5, 0.5, 1});
  CHECK(factors({{"text_encoder.lora_alpha", 2}}) == List{1, 1, 1});
}

TEST_CASE("what peft's save_pretrained writes is scaled by the adapter_config.json beside it") {
  const TempFolder folder;
  const std::string bytes = lora_bytes({{"base_model.model.x.a.lora_A.weight", {4, 8}},
                                        {"base_model.model.x.a.lora_B.weight", {6, 4}},
                                        {"base_model.model.y.lora_A.weight", {16, 8}},
                                        {"base_model.model.y.lora_B.weight", {6, 16}}});
  const std::string path = folder.write("l/adapter_model.safetensors", bytes);
  const auto factors = [&](const std::string& config) {
    folder.write("l/adapter_config.json", config);
    std::vector<double> list;
    const auto file = LoraFile::open(path);
    for (const auto& change : file->changes()) list.push_back(change.factor);
    return list;
  };
  using List = std::vector<double>;
  CHECK(LoraFile::open(path)->changes().at(0).factor == 1);
  CHECK(factors(R"({"peft_type": "LORA", "r": 4, "lora_alpha": 8})") == List{2, 0.5});
  CHECK(factors(R"({"lora_alpha": 8, "alpha_pattern": {"y": 32}, "use_rslora": true})") == List{4, 8});
  const auto refused = [&](const std::string& config) {
    folder.write("l/adapter_config.json", config);
    return test::error_of(base::ErrorKind::job, [&] { LoraFile::open(path); });
  };
  CHECK(test::contains(refused(R"({"use_dora": true})"),
                       "adapter_config.json: use_dora: this program does not merge DoRA"));
  CHECK(test::contains(refused(R"({"peft_type": "LOKR"})"), "peft_type"));
  CHECK(test::contains(refused("{"), "adapter_config.json: "));
  // The scaling is part of what the file does; beside a file of another name it says nothing.
  folder.write("l/adapter_config.json", R"({"lora_alpha": 8})");
  const std::string digest = LoraFile::open(path)->digest();
  folder.write("l/adapter_config.json", R"({"lora_alpha": 4})");
  CHECK(LoraFile::open(path)->digest() != digest);
  CHECK(LoraFile::open(folder.write("l/other.safetensors", bytes))->changes().at(0).factor == 1);
}

TEST_CASE("a file may name two experts, each with its own tensors and scaling") {
  const std::vector<std::int64_t> down{4, 8};
  const std::vector<std::int64_t> up{6, 4};
  using model::Expert;
  struct Words {
    const char* high;
    const char* low;
  };
  for (const Words& words : {Words{"transformer.", "transformer_2."},
                             Words{"transformer.base_model.model.", "transformer_2.base_model.model."},
                             Words{"high_noise_model.", "low_noise_model."}}) {
    const std::string high = words.high;
    const std::string low = words.low;
    const auto both = opened({{high + "a.lora_A.weight", down},
                              {high + "a.lora_B.weight", up},
                              {low + "a.lora_A.weight", down},
                              {low + "a.lora_B.weight", up}},
                             adapter({{"transformer.lora_alpha", 8}, {"transformer_2.lora_alpha", 2}}));
    REQUIRE(both->changes().size() == 2);
    CHECK(both->speaks_of(Expert::high));
    CHECK(both->speaks_of(Expert::low));
    for (const model::LoraChange& change : both->changes()) {
      CHECK(change.module == "a");
      REQUIRE(change.expert.has_value());
      CHECK(change.factor == (change.expert == Expert::high ? 2 : 0.5));
    }
    const auto one = opened({{low + "a.lora_A.weight", down}, {low + "a.lora_B.weight", up}});
    CHECK_FALSE(one->speaks_of(Expert::high));
    CHECK(one->speaks_of(Expert::low));
  }
  const auto either = opened({{"transformer.a.lora_A.weight", down}, {"transformer.a.lora_B.weight", up}});
  CHECK(either->speaks_of(Expert::high));
  CHECK(either->speaks_of(Expert::low));
}

TEST_CASE("a whole number may be the alpha") {
  Json header;
  header["a.lora_down.weight"] = {{"dtype", "F32"}, {"shape", {2, 1}}, {"data_offsets", {0, 8}}};
  header["a.lora_up.weight"] = {{"dtype", "F32"}, {"shape", {1, 2}}, {"data_offsets", {8, 16}}};
  header["a.alpha"] = {{"dtype", "I64"}, {"shape", Json::array()}, {"data_offsets", {16, 24}}};
  std::string data(24, '\0');
  data[16] = '\6';
  const TempFolder folder;
  CHECK(LoraFile::open(folder.write("l.safetensors", test::file_bytes(header.dump(), data)))->changes()[0].factor == 3);
}

TEST_CASE("equal content has one digest, whatever the file's name; any other number has another") {
  const std::vector<Tensor> tensors{{"a.lora_A.weight", {2, 3}}, {"a.lora_B.weight", {4, 2}}};
  std::vector<Tensor> other = tensors;
  other[1].values = {0.25F};
  CHECK(opened(tensors)->digest() == opened(tensors)->digest());
  CHECK(opened(tensors)->digest() != opened(other)->digest());
  CHECK(opened(tensors)->digest() != opened(tensors, adapter({{"transformer.lora_alpha", 8}}))->digest());
}

TEST_CASE("a file that is no LoRA, or one of another kind, is the job's error and says why") {
  struct Case {
    std::string bytes;
    const char* says;
  };
  const Tensor down{"a.lora_A.weight", {2, 3}};
  const Tensor up{"a.lora_B.weight", {4, 2}};
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::string whole = lora_bytes({down, up});
  const auto with = [&](const Json& config) { return lora_bytes({down, up}, adapter(config)); };
  for (const Case& c : std::vector<Case>{
           {"", "too short"},
           {"a picture, say, or a checkpoint of torch's", "header"},
           {whole.substr(0, whole.size() - 1), "truncated"},
           {lora_bytes({}), "no tensors"},
           {lora_bytes({down}), "a.lora_A.weight: its other half is missing"},
           {lora_bytes({up}), "a.lora_B.weight: its other half is missing"},
           {lora_bytes({{"a.lokr_w1", {2, 2}}}), "a.lokr_w1: is a part of LoKr, of no kind"},
           {lora_bytes({down, up, {"a.dora_scale", {4}}}), "a.dora_scale: is a part of DoRA, of no kind"},
           {lora_bytes({down, up, {"a.lora_magnitude_vector", {4}}}), "a.lora_magnitude_vector: is a part of DoRA"},
           {lora_bytes({down, up, {"a.lora_magnitude_vector.default.weight", {4}}}), "is a part of DoRA"},
           {lora_bytes({{"a.hada_w1_a", {2, 2}}}), "a.hada_w1_a: is a part of LoHa"},
           {lora_bytes({{"blocks.0.attn1.to_q.weight", {2, 2}}}), "is of no kind"},
           {lora_bytes({{".diff", {2}}}), "is of no kind"},
           {lora_bytes({{"a\n.lora_A.x.y.weight", {2, 2}}}), "a\\x0a.lora_A.x.y.weight: is of no kind"},
           {lora_bytes({down, up, {"transformer.a.lora_A.weight", {2, 3}}}), "says the same as"},
           {lora_bytes({down, up, {"a.lora_A.second.weight", {2, 3}}}), "says the same as"},
           {lora_bytes({down, {"a.lora_B.weight", {4, 3}}}), "has rank 2"},
           {lora_bytes({{"a.lora_A.weight", {0, 3}}, {"a.lora_B.weight", {4, 0}}}), "a.lora_A.weight: is empty"},
           {lora_bytes({{"a.lora_A.weight", {2, 0, INT64_MAX}}, up}), "a.lora_A.weight: is empty"},
           {lora_bytes({{"a.diff", {INT64_MAX, INT64_MAX, 0}}}), "a.diff: its shape overflows"},
           {lora_bytes({{"a.lora_A.weight", {6}}, {"a.lora_B.weight", {4, 2}}}), "is no matrix"},
           {lora_bytes({{"a.alpha", {}}}), "there are no tensors that it scales"},
           {lora_bytes({down, up, {"a.alpha", {2}}}), "a.alpha: is no single number"},
           {lora_bytes({down, up, {"a.alpha", {}, {nan}}}), "a.alpha: alpha / rank is not between"},
           {lora_bytes({down, up, {"a.alpha", std::vector<std::int64_t>(200, 1)}}), "a.alpha: has 200 dimensions"},
           {with({{"transformer.lora_alpha", 1e300}}), "a.lora_A.weight: alpha / rank is not between"},
           {lora_bytes({down, up}, {}, "I32"), "dtype I32 is not supported"},
           {lora_bytes({down, up}, {{"lora_adapter_metadata", "{"}}), "lora_adapter_metadata: "},
           {lora_bytes({down, up}, adapter(Json::array())), "lora_adapter_metadata: not a JSON object"},
           {with({{"transformer.use_dora", true}}), "use_dora"},
           {with({{"transformer.lora_alpha", "8"}}), "lora_alpha: is no number"},
           {with({{"transformer.alpha_pattern", 8}}), "alpha_pattern: not an object"},
           {with({{"transformer.alpha_pattern", {{"(a|b)*", 8}}}}), "(a|b)* is no name of a module"},
           {with({{"transformer.alpha_pattern", {{"", 8}}}}), "is no name of a module"},
           {with({{"transformer.alpha_pattern", {{"a", nullptr}}}}), "a: is no number"},
       }) {
    CAPTURE(c.says);
    const TempFolder folder;
    const std::string path = folder.write("l.safetensors", c.bytes);
    const std::string message = lora_refusal([&] { LoraFile::open(path); });
    CAPTURE(message);
    CHECK(test::contains(message, c.says));
  }
}

TEST_CASE("a file cut off anywhere, or with any byte of its header changed, is refused or read, and does no harm") {
  const std::string whole = lora_bytes({{"transformer.blocks.0.attn1.to_q.lora_A.weight", {2, 3}},
                                        {"transformer.blocks.0.attn1.to_q.lora_B.weight", {4, 2}},
                                        {"transformer.blocks.0.attn1.to_q.alpha", {}}},
                                       adapter({{"transformer.alpha_pattern", {{"a", 2}}}}));
  const TempFolder folder;
  std::size_t refused = 0;
  const auto feed = [&](const std::string& bytes) {
    try {
      LoraFile::open(folder.write("l.safetensors", bytes));
    } catch (const base::Error& e) {
      CHECK((e.kind() == base::ErrorKind::job));
      ++refused;
    }
  };
  for (std::size_t size = 0; size < whole.size(); ++size) feed(whole.substr(0, size));
  CHECK(refused == whole.size());
  for (std::size_t at = 0; at + 52 < whole.size(); ++at) {
    for (const char c : {'\0', '9', '"', '\xff'}) {
      std::string changed = whole;
      changed[at] = c;
      feed(changed);
    }
  }
  CHECK(refused > 2 * whole.size());
}

TEST_CASE("a LoRA that fits nothing, not all, or another size is told by its keys, and leaves the weights alone") {
  Small small = Small::load();
  const auto refused = [&](const std::vector<Tensor>& tensors) {
    const auto file = opened(tensors);
    return lora_refusal([&] { small.merger.merge({{file, 1.0}}); });
  };
  const at::Tensor before = small.transformer.parameters()[0].tensor->clone();
  const std::vector<Tensor> foreign{{"transformer.unet.to_q.lora_A.weight", {2, 3}},
                                    {"transformer.unet.to_q.lora_B.weight", {4, 2}},
                                    {"transformer.unet.to_q.alpha", {}}};
  CHECK(test::contains(refused(foreign),
                       "matches nothing in this model; its keys: transformer.unet.to_q.alpha, "
                       "transformer.unet.to_q.lora_A.weight, transformer.unet.to_q.lora_B.weight"));
  // 128 wide: A is [rank, 128], B [128, rank].
  for (const auto& [down, up] : std::vector<std::pair<std::vector<std::int64_t>, std::vector<std::int64_t>>>{
           {{2, 96}, {128, 2}}, {{2, 128}, {96, 2}}, {{2, 128}, {128, 2, 2}}, {{2, 2, 128}, {128, 2}}}) {
    const std::string message = refused({{"patch_embedding.diff_b", {128}},
                                         {"blocks.0.self_attn.q.lora_down.weight", down},
                                         {"blocks.0.self_attn.q.lora_up.weight", up}});
    CAPTURE(message);
    CHECK(test::contains(message, "is made for another model: blocks.0.self_attn.q.lora_down.weight ["));
    CHECK(test::contains(message, "for blocks.0.attn1.to_q.weight [128, 128]"));
  }
  CHECK(test::contains(refused({{"patch_embedding.diff", {128, 64}}}), "patch_embedding.diff [128, 64]"));
  CHECK(at::equal(*small.transformer.parameters()[0].tensor, before));

  const auto partly = opened({{"diffusion_model.blocks.0.cross_attn.k_img.lora_down.weight", {2, 128}},
                              {"diffusion_model.blocks.0.cross_attn.k_img.lora_up.weight", {128, 2}},
                              {"diffusion_model.patch_embedding.diff_b", {128}}});
  const auto ignored = small.merger.check({{partly, 1.0}});
  REQUIRE(ignored.size() == 1);
  CHECK(test::contains(ignored[0], "l.safetensors: diffusion_model.blocks.0.cross_attn.k_img.lora_down.weight, "));
}

TEST_CASE("each expert takes its own part of a file that names two") {
  Small small = Small::load();
  const auto bias = [&] {
    for (const model::Parameter& parameter : small.transformer.parameters()) {
      if (parameter.parts[0].name == "patch_embedding.bias") return parameter.tensor->clone();
    }
    return at::Tensor();
  };
  const at::Tensor plain = bias();
  const auto file = opened({{"transformer.patch_embedding.diff_b", {128}, std::vector<float>(128, 1.0F)},
                            {"transformer_2.patch_embedding.diff_b", {128}, std::vector<float>(128, 2.0F)}});
  small.merger.merge({{file, 1.0, model::Expert::high}});
  CHECK(at::allclose(bias(), plain + 1.0));
  small.merger.merge({});
  CHECK(at::equal(bias(), plain));
  small.merger.merge({{file, 1.0, model::Expert::low}});
  CHECK(at::allclose(bias(), plain + 2.0));
}

TEST_CASE("numbers that are not finite are refused, and the next set finds good weights") {
  Small small = Small::load();
  const auto values = [&](const char* name) {
    for (const model::Parameter& parameter : small.transformer.parameters()) {
      if (parameter.parts[0].name == name) return parameter.tensor->clone();
    }
    return at::Tensor();
  };
  const at::Tensor first = values("patch_embedding.bias");
  const at::Tensor second = values("blocks.1.norm2.bias");
  std::vector<float> bad(128, 1.0F);
  bad[77] = std::numeric_limits<float>::infinity();
  const auto file = opened({{"patch_embedding.diff_b", {128}}, {"blocks.1.norm3.diff_b", {128}, bad}});
  for (int i = 0; i < 2; ++i) {
    const std::string message = lora_refusal([&] { small.merger.merge({{file, 1.0}}); });
    CHECK(test::contains(message, "makes blocks.1.norm2.bias not finite: blocks.1.norm3.diff_b"));
  }
  small.merger.merge({});
  CHECK(at::equal(values("patch_embedding.bias"), first));
  CHECK(at::equal(values("blocks.1.norm2.bias"), second));
}
