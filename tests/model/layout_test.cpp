// Original Wan folders, conversion and checks, on the goldens' checkpoints: make_originals.py made an original folder
// of each, with diffusers' own names as the judge.
#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "nightreel/card/checkpoint.h"
#include "nightreel/model/checkpoint.h"
#include "nightreel/ops/quantised.h"
#include "nightreel/weights/check.h"
#include "nightreel/weights/convert.h"
#include "nightreel/weights/weights.h"
#include "support/error.h"
#include "support/golden.h"
#include "support/temp_folder.h"
#include "weights/checkpoint_files.h"

using namespace nightreel;
using card::Layout;
using test::contains;
using test::refusal;
using test::TempFolder;
using weights::ConvertOptions;
using weights::Precision;
using weights::WeightMap;
namespace fs = std::filesystem;

namespace {

std::vector<std::string> cases() {
  const auto all = test::golden_cases("vae.safetensors");
  REQUIRE(all.size() >= 6);
  return all;
}

std::string diffusers_folder(const std::string& name) {
  return test::golden_path(name + "/model");
}

std::string original_folder(const std::string& name) {
  const char* binary = std::getenv("NIGHTREEL_BINARY_DIR");
  REQUIRE(binary != nullptr);
  return std::string(binary) + "/originals/" + name;
}

ConvertOptions conversion(const std::string& from, const std::string& to) {
  ConvertOptions options;
  options.from = from;
  options.to = to;
  return options;
}

std::vector<weights::ConvertedComponent> convert(const ConvertOptions& options, const base::CancelToken& cancel = {}) {
  return weights::convert_checkpoint(options, model::lists_of(options.from), {}, cancel);
}

/// All problems of a checkpoint, one a line.
std::string problems_of(const std::string& folder) {
  std::string text;
  for (const auto& component : weights::check_checkpoint(folder, model::lists_of(folder))) {
    for (const auto& problem : component.problems) {
      text += component.name + " " + problem.what + " " + problem.tensor + " " + problem.detail + "\n";
    }
  }
  return text;
}

/// A Diffusers folder of one component with these tensors.
void write_transformer(const TempFolder& folder, const std::string& safetensors) {
  folder.write("model_index.json", "{}");
  folder.write("transformer/config.json", "{}");
  folder.write("transformer/diffusion_pytorch_model.safetensors", safetensors);
}

/// VmHWM, after it was set back.
double peak_megabytes() {
  std::ifstream status("/proc/self/status");
  std::string line;
  while (std::getline(status, line)) {
    if (line.rfind("VmHWM:", 0) == 0) return std::stod(line.substr(6)) / 1024;
  }
  return 0;
}

/// Every setting of the component is the same in both layouts.
void check_settings(const std::string& name, const std::string& component) {
  const std::string file = "/" + component + "/config.json";
  const base::Json ours = card::checkpoint_json(original_folder(name) + file).json;
  const base::Json theirs = card::checkpoint_json(diffusers_folder(name) + file).json;
  for (const auto& [key, value] : theirs.items()) {
    CAPTURE(key);
    if (key[0] == '_' || value.is_null()) continue;
    REQUIRE(ours.contains(key));
    CHECK((ours[key] == value));
  }
}

}  // namespace

TEST_CASE("an original folder has the digest and the tensors of its Diffusers folder") {
  for (const std::string& name : cases()) {
    CAPTURE(name);
    CHECK(model::model_digest(original_folder(name)) == model::model_digest(diffusers_folder(name)));
    CHECK(card::components_of(diffusers_folder(name)).size() >= 3);
    CHECK(card::components_of(original_folder(name)) == card::components_of(diffusers_folder(name)));
    for (const std::string& component : card::components_of(diffusers_folder(name))) {
      CAPTURE(component);
      check_settings(name, component);
      const WeightMap ours = WeightMap::open(original_folder(name) + "/" + component);
      const WeightMap theirs = WeightMap::open(diffusers_folder(name) + "/" + component);
      CHECK_FALSE(ours.names().empty());
      for (const std::string& tensor : ours.names()) {
        const std::string known = theirs.has(tensor) ? tensor : tensor.substr(tensor.find('.') + 1);
        CAPTURE(tensor);
        REQUIRE((theirs.has(known) || tensor == "shared.weight"));
        if (theirs.has(known)) CHECK(at::equal(ours.tensor(tensor), theirs.tensor(known)));
      }
    }
  }
}

TEST_CASE("a check finds nothing wrong with good checkpoints in either layout") {
  for (const std::string& name : cases()) {
    CAPTURE(name);
    CHECK(problems_of(original_folder(name)) == "");
    CHECK(problems_of(diffusers_folder(name)) == "");
  }
}

TEST_CASE("a check names what is missing, surplus, misshapen, unreadable and not finite") {
  const TempFolder folder;
  fs::copy(diffusers_folder("plain"), folder.path(), fs::copy_options::recursive);
  const std::string vae = folder / "vae/diffusion_pytorch_model.safetensors";
  std::vector<std::uint8_t> bytes(fs::file_size(vae));
  std::ifstream(vae, std::ios::binary)
      .read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  std::string content(bytes.begin(), bytes.end());
  const auto rename = [&](const std::string& from, const std::string& to) {
    const auto at = content.find(from);
    REQUIRE(at != std::string::npos);
    content.replace(at, from.size(), to);
  };
  rename("\"decoder.conv_in.bias\"", "\"decoder.conv_xx.bias\"");
  content.replace(content.size() - 4, 4, std::string("\0\0\x80\x7f", 4));  // infinity
  folder.write("vae/diffusion_pytorch_model.safetensors", content);
  const std::string config = folder / "transformer/config.json";
  base::Json json = base::read_json(config);
  json["ffn_dim"] = 49;
  folder.write("transformer/config.json", json.dump());
  folder.write("text_encoder/model.safetensors", "short");
  const std::string problems = problems_of(folder.path());
  CAPTURE(problems);
  CHECK(contains(problems, "vae missing decoder.conv_in.bias the model needs it"));
  CHECK(contains(problems, "vae surplus decoder.conv_xx.bias"));
  CHECK(contains(problems, "1 numbers are NaN or infinite"));
  CHECK(contains(problems, "transformer misshapen blocks.0.ffn.net.0.proj.bias [48] instead of [49]"));
  CHECK(contains(problems, "text_encoder unreadable"));
}

TEST_CASE("numbers that are not finite are counted in every dtype, aligned or not") {
  using weights::StoredType;
  const auto count = [](StoredType type, const std::string& bytes) { return weights::count_not_finite(type, bytes); };
  CHECK(count(StoredType::f32, std::string("\0\0\x80\x7f\0\0\xc0\xff\0\0\x80\x3f", 12)) == 2);
  CHECK(count(StoredType::bf16, std::string("\x80\x7f\x80\x3f\xc1\xff", 6)) == 2);
  CHECK(count(StoredType::f16, std::string("\0\x7c\xff\x7b", 4)) == 1);
  CHECK(count(StoredType::f8_e4m3, std::string("\x7f\xff\x7e", 3)) == 2);
  CHECK(count(StoredType::f64, std::string("\0\0\0\0\0\0\xf0\x7f", 8)) == 1);
  CHECK(count(StoredType::i64, std::string(8, '\xff')) == 0);
}

TEST_CASE("converted to the other layout and back, a checkpoint has the same digest") {
  for (const std::string& name : cases()) {
    if (name == "experts") continue;  // its boundary_ratio is none of Wan's
    CAPTURE(name);
    const TempFolder folder;
    const std::string expected = model::model_digest(diffusers_folder(name));
    ConvertOptions to_diffusers = conversion(original_folder(name), folder / "diffusers");
    to_diffusers.layout = Layout::diffusers;
    to_diffusers.shard_bytes = 20'000;
    for (const auto& component : convert(to_diffusers)) CHECK(component.changed == 0);
    CHECK(card::layout_of(folder / "diffusers") == Layout::diffusers);
    CHECK(model::model_digest(folder / "diffusers") == expected);
    CHECK(problems_of(folder / "diffusers") == "");
    ConvertOptions to_original = conversion(folder / "diffusers", folder / "original");
    to_original.layout = Layout::original;
    convert(to_original);
    CHECK(card::layout_of(folder / "original") == Layout::original);
    CHECK(model::model_digest(folder / "original") == expected);
    CHECK(problems_of(folder / "original") == "");
    ConvertOptions direct = conversion(diffusers_folder(name), folder / "direct");
    direct.layout = Layout::original;
    convert(direct);
    CHECK(model::model_digest(folder / "direct") == expected);
  }
}

TEST_CASE("shards hold what the index says and are no larger than asked") {
  const TempFolder folder;
  ConvertOptions options = conversion(diffusers_folder("plain"), folder / "out");
  options.shard_bytes = 20'000;
  convert(options);
  std::size_t shards = 0;
  for (const auto& entry : fs::directory_iterator(folder / "out/transformer")) {
    if (entry.path().extension() != ".safetensors") continue;
    ++shards;
    CHECK(entry.file_size() < 20'000 + 10'000);  // and its header
  }
  CHECK(shards > 2);
  CHECK(fs::exists(folder / "out/transformer/diffusion_pytorch_model.safetensors.index.json"));
  CHECK(fs::exists(folder / "out/tokenizer/spiece.model"));
  CHECK(model::model_digest(folder / "out") == model::model_digest(diffusers_folder("plain")));
}

TEST_CASE("a precision is what it says, its error is reported, and what computes in float32 stays") {
  struct Case {
    Precision precision;
    weights::StoredType type;
    double relative;  // at most, and a quarter of it at least
  };
  for (const Case& c : {Case{Precision::bf16, weights::StoredType::bf16, 1.0 / 256},
                        Case{Precision::f16, weights::StoredType::f16, 1.0 / 2048},
                        Case{Precision::fp8, weights::StoredType::f8_e4m3, 1.0 / 16}}) {
    CAPTURE(tensorfile::name(c.type));
    const TempFolder folder;
    ConvertOptions options = conversion(diffusers_folder("plain"), folder / "out");
    options.precision = c.precision;
    const auto report = convert(options);
    CHECK(problems_of(folder / "out") == "");
    for (const auto& component : report) {
      CAPTURE(component.name);
      if (component.name == "vae") {
        CHECK(component.changed == 0);
        continue;
      }
      CHECK(component.changed > 0);
      CHECK(component.bytes_after < component.bytes_before);
      CHECK(component.relative_error < c.relative);
      CHECK(component.relative_error > c.relative / 16);
      CHECK(component.max_error >= component.mean_error);
    }
    WeightMap now = WeightMap::open(folder / "out/transformer");
    const WeightMap before = WeightMap::open(diffusers_folder("plain") + "/transformer");
    const std::string name = "blocks.0.ffn.net.2.weight";
    CHECK(now.stored(name).type == c.type);
    CHECK(now.stored("blocks.1.scale_shift_table").type == weights::StoredType::f32);
    CHECK(now.stored("blocks.1.norm2.weight").type == weights::StoredType::f32);
    const at::Tensor old = before.tensor(name);
    const at::Tensor taken = now.take(name, old.sizes()).to(at::kFloat);
    CHECK(test::relative_error(taken, old) < c.relative);
    CHECK(test::relative_error(taken, old) > 0);
  }
}

TEST_CASE("fp8 comes back as bfloat16 and float32, and a second time as the same fp8") {
  const TempFolder folder;
  ConvertOptions to_fp8 = conversion(diffusers_folder("plain"), folder / "fp8");
  to_fp8.precision = Precision::fp8;
  convert(to_fp8);
  CHECK(contains(base::read_json(folder / "fp8/transformer/config.json").dump(), "nightreel_e4m3"));
  ConvertOptions again = conversion(folder / "fp8", folder / "again");
  again.precision = Precision::fp8;
  for (const auto& component : convert(again)) CHECK(component.changed == 0);
  CHECK(model::model_digest(folder / "again") == model::model_digest(folder / "fp8"));
  ConvertOptions other = conversion(folder / "fp8", folder / "original");
  other.layout = Layout::original;
  convert(other);
  CHECK(model::model_digest(folder / "original") == model::model_digest(folder / "fp8"));
  CHECK(contains(base::read_json(folder / "original/config.json").dump(), "nightreel_e4m3"));
  CHECK(problems_of(folder / "original") == "");
  ConvertOptions back = conversion(folder / "fp8", folder / "f32");
  back.precision = Precision::f32;
  convert(back);
  CHECK(problems_of(folder / "f32") == "");
  CHECK_FALSE(contains(base::read_json(folder / "f32/transformer/config.json").dump(), "nightreel_e4m3"));
  const std::string name = "blocks.0.attn1.to_q.weight";
  WeightMap fp8 = WeightMap::open(folder / "fp8/transformer");
  WeightMap f32 = WeightMap::open(folder / "f32/transformer");
  const at::Tensor expected = f32.tensor(name);
  CHECK(at::equal(fp8.take(name, expected.sizes()), expected));
}

TEST_CASE("a conversion that fails leaves nothing, and one that is in the way of something does not begin") {
  const TempFolder source;
  std::string nan(16, '\0');
  nan.replace(4, 4, std::string("\0\0\xc0\x7f", 4));
  write_transformer(source, test::file_bytes(R"({"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}})", nan));
  const TempFolder folder;
  ConvertOptions options = conversion(source.path(), folder / "out");
  options.precision = Precision::bf16;
  CHECK(contains(refusal([&] { convert(options); }), "tensor w: holds numbers that are not finite"));
  CHECK(fs::is_empty(folder.path()));
  base::CancelToken cancel;
  cancel.cancel();
  options.from = diffusers_folder("plain");
  CHECK(test::thrown_by([&] { convert(options, cancel); }).kind == base::ErrorKind::interrupted);
  CHECK(fs::is_empty(folder.path()));
  folder.write("out/notes.txt", "mine");
  CHECK(test::thrown_by([&] { convert(options); }).kind == base::ErrorKind::usage);
  CHECK(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()) == 1);
}

TEST_CASE("what a killed conversion left is removed by the next one") {
  const TempFolder folder;
  folder.write(".out.part/transformer/half", "x");
  convert(conversion(diffusers_folder("plain"), folder / "out"));
  CHECK(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()) == 1);
  CHECK_FALSE(fs::exists(folder / "out/transformer/half"));
}

TEST_CASE("numbers too large for float16 are an error, not infinities") {
  const TempFolder source;
  std::string large(16, '\0');
  large.replace(0, 4, std::string("\0\0\x80\x4f", 4));  // 2^32
  write_transformer(source, test::file_bytes(R"({"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}})", large));
  const TempFolder folder;
  ConvertOptions options = conversion(source.path(), folder / "out");
  options.precision = Precision::f16;
  CHECK(contains(refusal([&] { convert(options); }), "too large for float16"));
}

TEST_CASE("a conversion's memory does not grow with the checkpoint") {
  // 768 MB of zeros that take no disk, as six matrices of a block.
  constexpr std::int64_t kRows = 4096;
  constexpr std::int64_t kColumns = 8192;
  const std::uint64_t matrix = kRows * kColumns * 4;
  std::string header;
  for (int i = 0; i < 6; ++i) {
    header += (i == 0 ? "{" : ",") + std::string("\"blocks.") + std::to_string(i) + R"(.ffn.net.2.weight":{"dtype":)" +
              R"("F32","shape":[4096,8192],"data_offsets":[)" + std::to_string(static_cast<unsigned>(i) * matrix) +
              "," + std::to_string((static_cast<unsigned>(i) + 1) * matrix) + "]}";
  }
  const TempFolder source;
  write_transformer(source, test::file_bytes(header + "}", ""));
  const std::string file = source / "transformer/diffusion_pytorch_model.safetensors";
  fs::resize_file(file, fs::file_size(file) + 6 * matrix);
  const TempFolder folder;
  ConvertOptions options = conversion(source.path(), folder / "out");
  options.precision = Precision::fp8;
  std::ofstream("/proc/self/clear_refs") << "5";  // the peak counts from here
  const double before = peak_megabytes();
  REQUIRE(before > 0);
  convert(options);
  const double grown = peak_megabytes() - before;
  std::printf("a conversion of 805 MB: peak memory grew by %.0f MB\n", grown);
  CHECK(grown < 134 + 300);  // one matrix, and the pieces and libraries' own buffers on their way
}
