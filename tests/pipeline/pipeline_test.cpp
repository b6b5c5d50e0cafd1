// T rows of a prompt, E width of the text encoder; F frames, H rows, W columns of the video.
#include "nightreel/pipeline/pipeline.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include "pipeline/golden_run.h"
#include "support/error.h"
#include "support/gap.h"
#include "support/temp_folder.h"

using namespace nightreel;
using pipeline::Pipeline;
using test::gap;
using test::GoldenRun;

namespace {

/// A prompt's tokens with </s>, as the recorded ids hold them before their padding.
std::vector<std::int64_t> tokens_of(const at::Tensor& ids) {
  constexpr std::int64_t kEndOfSequence = 1;
  std::vector<std::int64_t> tokens;
  const at::Tensor flat = ids.flatten();
  for (std::int64_t i = 0; i < flat.numel(); ++i) {
    tokens.push_back(flat[i].item<std::int64_t>());
    if (tokens.back() == kEndOfSequence) return tokens;
  }
  FAIL("the recorded prompt does not end");
  return tokens;
}

struct Decoded {
  std::vector<std::int64_t> pieces;  // frames in each
  at::Tensor frames_FHW3;
};

Decoded decode(const Pipeline& pipeline, const at::Tensor& latents_CFYX) {
  Decoded decoded;
  std::vector<at::Tensor> pieces;
  pipeline.decode(latents_CFYX, [&](const at::Tensor& frames_FHW3) {
    CHECK((frames_FHW3.scalar_type() == at::kByte));  // doctest cannot print a ScalarType
    CHECK(frames_FHW3.is_contiguous());
    decoded.pieces.push_back(frames_FHW3.size(0));
    pieces.push_back(frames_FHW3);
  });
  decoded.frames_FHW3 = at::cat(pieces);
  return decoded;
}

}  // namespace

TEST_CASE("tokens and a seed become diffusers' embeddings, latents and frames") {
  const std::vector<std::pair<const char*, const char*>> runs{
      {"plain", "pipeline"}, {"experts", "pipeline"},   {"half", "pipeline"},      {"ti2v", "pipeline"},
      {"ti2v", "run_image"}, {"ti2v", "run_image_dpm"}, {"i2v", "pipeline"},       {"i2v", "run_last"},
      {"i2v", "run_four"},   {"clip", "pipeline"},      {"first_last", "pipeline"}};
  for (const auto& [name, recorded] : runs) {
    CAPTURE(name);
    CAPTURE(recorded);
    const GoldenRun golden(name, recorded);
    Pipeline pipeline = Pipeline::load(card::read(golden.model_dir()), {});
    const at::Tensor prompt_1TE = pipeline.encode_prompt(tokens_of(golden.tensor("ids"))).embeds_1TE;
    const at::Tensor negative_1TE = pipeline.encode_prompt(tokens_of(golden.tensor("negative_ids"))).embeds_1TE;
    CHECK(gap(prompt_1TE, golden.prompt()) < 1e-4F);
    if (pipeline::is_guided(golden.settings)) CHECK(gap(negative_1TE, golden.negative()) < 1e-4F);
    const auto image = pipeline.encode_pictures(golden.settings, golden.pictures());
    const at::Tensor latents_CFYX = pipeline.denoise({golden.settings, prompt_1TE, negative_1TE, image}).latents_CFYX;
    CHECK(gap(latents_CFYX, golden.tensor("latents")[0]) < 2e-4F);
    const at::Tensor frames_FHW3 = decode(pipeline, latents_CFYX).frames_FHW3;
    CHECK(gap(frames_FHW3.to(at::kFloat) / 255, golden.tensor("frames")) <= 1.0F / 255);
  }
}

TEST_CASE("pictures decide the video, and must be there and of its size") {
  const GoldenRun golden("i2v", "run_last");
  Pipeline pipeline = Pipeline::load(card::read(golden.model_dir()), {});
  const auto latents = [&](const pipeline::Pictures& pictures) {
    const auto image = pipeline.encode_pictures(golden.settings, pictures);
    return pipeline.denoise({golden.settings, golden.prompt(), golden.negative(), image}).latents_CFYX;
  };
  const pipeline::Pictures given = golden.pictures();
  const at::Tensor black_HW3 = at::zeros_like(given.first_HW3);
  CHECK(gap(latents(given), latents({black_HW3, given.last_HW3, {}, {}})) > 1e-2F);
  CHECK(gap(latents(given), latents({given.first_HW3, black_HW3, {}, {}})) > 1e-2F);
  for (const pipeline::Pictures& bad : {pipeline::Pictures{}, pipeline::Pictures{given.first_HW3, {}, {}, {}},
                                        pipeline::Pictures{{}, given.last_HW3, {}, {}},
                                        pipeline::Pictures{given.first_HW3.slice(0, 1), given.last_HW3, {}, {}},
                                        pipeline::Pictures{given.first_HW3.to(at::kFloat), given.last_HW3, {}, {}}}) {
    CHECK(test::thrown_by([&] { pipeline.encode_pictures(golden.settings, bad); }).kind == base::ErrorKind::internal);
  }
  const auto run = [&] { pipeline.denoise({golden.settings, golden.prompt(), golden.negative()}); };
  CHECK(test::contains(test::thrown_by(run).message, "pictures' latents are missing"));
}

TEST_CASE("pictures that a model does not take, or lacks, are refused by field") {
  struct Case {
    const char* model;
    const char* image;
    const char* last_image;
    const char* says;
  };
  for (const Case& c :
       {Case{"plain", "a.png", "", "image: this model makes videos from text alone"},
        Case{"i2v", "", "", "image: is required by this image-to-video model"},
        Case{"ti2v", "a.png", "b.png", "last_image: this model takes a first picture only"},
        Case{"clip", "a.png", "b.png", "last_image: this model takes a first picture only"},
        Case{"first_last", "a.png", "", "last_image: this model needs the first and the last picture"}}) {
    CAPTURE(c.model);
    const GoldenRun golden(c.model);
    settings::Settings settings = golden.settings;
    settings.image = c.image;
    settings.last_image = c.last_image;
    const Pipeline pipeline = Pipeline::load(card::read(golden.model_dir()), {});
    const auto thrown = test::thrown_by([&] { pipeline.check(settings); });
    CHECK(thrown.kind == base::ErrorKind::job);
    CHECK(test::contains(thrown.message, c.says));
  }
}

TEST_CASE("frames arrive as the VAE makes them: one, then four by four") {
  const GoldenRun golden("plain");
  const Pipeline pipeline = Pipeline::load(card::read(golden.model_dir()), {});
  CHECK(decode(pipeline, golden.tensor("latents")[0]).pieces == std::vector<std::int64_t>{1, 4, 4});
}

TEST_CASE("a cancelled decoding ends before the next piece") {
  const GoldenRun golden("plain");
  const Pipeline pipeline = Pipeline::load(card::read(golden.model_dir()), {});
  base::CancelToken cancel;
  int pieces = 0;
  const auto thrown = test::thrown_by([&] {
    pipeline.decode(
        golden.tensor("latents")[0],
        [&](const at::Tensor&) {
          ++pieces;
          cancel.cancel();
        },
        cancel);
  });
  CHECK(thrown.kind == base::ErrorKind::interrupted);
  CHECK(pieces == 1);
}

TEST_CASE("the last prompts are kept, the one that was used longest ago goes first") {
  const GoldenRun golden("plain");
  pipeline::PipelineOptions options;
  options.cached_prompts = 2;
  Pipeline pipeline = Pipeline::load(card::read(golden.model_dir()), options);
  const auto cached = [&](std::int64_t token) { return pipeline.encode_prompt({token, 1}).cached; };
  CHECK_FALSE(cached(5));
  CHECK_FALSE(cached(6));
  CHECK(cached(5));
  CHECK_FALSE(cached(7));  // 6 goes
  CHECK(cached(5));
  CHECK_FALSE(cached(6));
  const at::Tensor embeds_1TE = pipeline.encode_prompt({5, 1}).embeds_1TE;
  CHECK(embeds_1TE.size(1) == 512);
  CHECK(embeds_1TE[0][1].abs().max().item<float>() > 0);
  CHECK(embeds_1TE.slice(1, 2).abs().max().item<float>() == 0);
}

TEST_CASE("a prompt without tokens, or with more than 512, is refused") {
  Pipeline pipeline = Pipeline::load(card::read(GoldenRun("plain").model_dir()), {});
  for (const std::size_t count : {std::size_t{0}, std::size_t{513}}) {
    CHECK(test::thrown_by([&] { pipeline.encode_prompt(std::vector<std::int64_t>(count, 5)); }).kind ==
          base::ErrorKind::internal);
  }
  CHECK_NOTHROW(pipeline.encode_prompt(std::vector<std::int64_t>(512, 5)));
}

TEST_CASE("a folder that is no text-to-video model is refused by the file that says so") {
  for (const auto& [index, says] : std::vector<std::pair<std::string, std::string>>{
           {"[]", "not a JSON object"},
           {"{}", "_class_name"},
           {R"({"_class_name": "WanVACEPipeline"})", "WanVACEPipeline"},
           {R"({"_class_name": "WanPipeline", "expand_timesteps": 1})", "expand_timesteps"},
       }) {
    CAPTURE(index);
    const test::TempFolder folder;
    folder.write("model_index.json", index);
    const auto thrown = test::thrown_by([&] { Pipeline::load(card::read(folder.path()), {}); });
    CHECK(thrown.kind == base::ErrorKind::model);
    CHECK(test::contains(thrown.message, "model_index.json"));
    CHECK(test::contains(thrown.message, says));
  }
}
