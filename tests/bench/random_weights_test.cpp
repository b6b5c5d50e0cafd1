// Random weights of published dimensions, and pieces that run with such weights of a small model.
#include "nightreel/bench/random_weights.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>
#include <sys/stat.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "bench/arithmetic.h"
#include "nightreel/bench/measure.h"
#include "nightreel/card/card.h"
#include "nightreel/model/transformer.h"
#include "nightreel/model/vae.h"
#include "support/error.h"
#include "support/temp_folder.h"

namespace {

namespace fs = std::filesystem;
using namespace nightreel;

/// The configurations of models/shapes, and weights that are not there.
class SmallModel {
 public:
  explicit SmallModel(at::ScalarType dtype) {
    const fs::path shapes = fs::path(std::getenv("NIGHTREEL_SOURCE_DIR")) / "models/shapes";
    for (const char* file : {"model_index.json", "scheduler/scheduler_config.json", "text_encoder/config.json",
                             "transformer/config.json", "transformer_2/config.json", "vae/config.json"}) {
      fs::create_directories(fs::path(folder_ / file).parent_path());
      fs::copy_file(shapes / file, folder_ / file);
    }
    bench::write_sparse_weights(folder_.path(), dtype);
  }
  const std::string& path() const { return folder_.path(); }

 private:
  test::TempFolder folder_;
};

bench::Workload workload_of(const SmallModel& model, at::ScalarType dtype) {
  bench::Workload workload;
  workload.model = model.path();
  workload.random = true;
  workload.dtype = dtype;
  workload.tokens = 5;
  workload.settings.height = 16;
  workload.settings.width = 32;
  workload.settings.num_frames = 5;
  workload.settings.num_inference_steps = 3;
  workload.settings.boundary_ratio = 0.8;
  workload.plan = bench::plan_of(workload, 0);
  return workload;
}

double deviation_of(const at::Tensor& numbers) {
  return numbers.to(at::kFloat).std().item<double>();
}

}  // namespace

TEST_CASE("pieces with random weights are finite, not zero, and repeat themselves") {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const SmallModel model(dtype);
    const bench::Workload workload = workload_of(model, dtype);
    for (const bench::PieceKind& kind : bench::piece_kinds()) {
      CAPTURE(kind.name);
      std::vector<at::Tensor> results;
      for (int i = 0; i < 2; ++i) {
        auto piece = bench::make_piece(kind.name, workload, nullptr);
        CHECK(piece->run() > 0);
        results.push_back(piece->result().clone());
      }
      CHECK(at::isfinite(results[0]).all().item<bool>());
      CHECK(deviation_of(results[0]) > 1e-3);
      CHECK(at::equal(results[0], results[1]));
    }
  }
}

TEST_CASE("numbers are drawn by name: norms are ones, matrices keep the size of what goes through them") {
  const SmallModel model(at::kBFloat16);
  bench::RandomWeights reader(at::kCPU);
  const auto weights = weights::WeightMap::open(model.path() + "/transformer");
  const auto read = [&](const std::string& name) { return reader.read("transformer", weights, name); };
  const at::Tensor matrix = read("blocks.0.ffn.net.0.proj.weight");  // 128 in
  CHECK((matrix.scalar_type() == at::kBFloat16));
  CHECK(deviation_of(matrix) == doctest::Approx(1 / std::sqrt(128.0)).epsilon(0.02));
  CHECK(at::equal(matrix, read("blocks.0.ffn.net.0.proj.weight")));
  CHECK_FALSE(at::equal(matrix, read("blocks.1.ffn.net.0.proj.weight")));
  CHECK_FALSE(at::equal(matrix, reader.read("transformer_2", weights, "blocks.0.ffn.net.0.proj.weight")));
  CHECK(at::equal(read("blocks.0.attn1.norm_q.weight").to(at::kFloat), at::ones({128})));
  CHECK(deviation_of(read("blocks.0.ffn.net.0.proj.bias")) == doctest::Approx(0.02).epsilon(0.2));
  CHECK(deviation_of(read("blocks.0.scale_shift_table")) == doctest::Approx(0.02).epsilon(0.2));
  const auto vae = weights::WeightMap::open(model.path() + "/vae");
  CHECK((reader.read("vae", vae, "decoder.conv_in.bias").scalar_type() == at::kFloat));
}

TEST_CASE("each name is a published model by its dimensions, and takes next to nothing of the disk") {
  const std::vector<std::string> published{"Wan2.2-T2V-A14B", "Wan2.2-I2V-A14B", "Wan2.2-TI2V-5B"};
  const std::vector<std::string> names = bench::random_names();
  REQUIRE(names.size() == published.size());
  for (std::size_t i = 0; i < names.size(); ++i) {
    CAPTURE(names[i]);
    const test::TempFolder folder;
    bench::write_published_configs(names[i], folder.path());
    bench::write_sparse_weights(folder.path(), at::kBFloat16);
    const card::Card card = card::read(folder.path());
    CHECK(card.published == published[i]);
    CHECK(card.weight_bytes.at("transformer") > 9'000'000'000);
    std::uint64_t on_disk = 0;
    for (const auto& entry : fs::recursive_directory_iterator(folder.path())) {
      struct stat status {};
      REQUIRE(::stat(entry.path().c_str(), &status) == 0);
      on_disk += static_cast<std::uint64_t>(status.st_blocks) * 512;
    }
    CHECK(on_disk < 2'000'000);
  }
  const test::TempFolder folder;
  const auto write = [&] { bench::write_published_configs("a14b", folder.path()); };
  CHECK(test::error_of(base::ErrorKind::usage, write) == "no published model a14b");
}

TEST_CASE("operations by hand") {
  card::TransformerConfig config;
  config.num_layers = 3;
  config.num_attention_heads = 2;
  config.attention_head_dim = 4;
  config.ffn_dim = 16;
  config.in_channels = 1;
  config.out_channels = 1;
  config.text_dim = 3;
  config.freq_dim = 2;
  // 10 tokens, width 8: products of the tokens 12800, attention 3200, keys and values of 512 rows 131072, looking at
  // them 163840; beside the blocks patches 1280, text 90112, time step 928.
  CHECK(*bench::pass_operations(config, 10) == 3 * (12800 + 3200 + 131072 + 163840) + 1280 + 90112 + 928);
  CHECK(bench::tokens_of(config, {3, 4, 6}) == 18);
  config.image_dim = 5;
  CHECK_FALSE(bench::pass_operations(config, 10));

  card::VaeConfig vae;
  vae.decoder_base_dim = 1;
  vae.z_dim = 1;
  vae.dim_mult = {2};
  vae.num_res_blocks = 0;
  vae.temperal_downsample = {};
  vae.scale_factor_spatial = 1;
  // 2 frames of 6 cells, of a multiplication and an addition each: 1 of z, 27 * 2 in, two middle blocks of 2 * 27 * 4
  // with 12 + 4 of attention between, one block, 27 * 2 * 3 out; and 4 * 36 * 2 a frame for looking at each other.
  CHECK(bench::decode_operations(vae, {2, 2, 3}, false) ==
        2 * 6 * 2 * (1 + 54 + 2 * 216 + 16 + 216 + 162) + 2 * 4 * 36 * 2);
  CHECK(bench::decode_operations(vae, {2, 2, 3}, true) == bench::decode_operations(vae, {2, 2, 3}, false));
  CHECK(bench::decode_operations(vae, {2, 256, 300}, true) > bench::decode_operations(vae, {2, 256, 256}, false));
}
