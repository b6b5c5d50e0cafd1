// What a transformer makes of a time step, a prompt, a picture and latents before its blocks, and behind them.
//
// B batch, T rows, E width of an encoder, D width of the transformer.
#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include "model/random_module.h"
#include "nightreel/model/head.h"
#include "nightreel/model/image_embedder.h"
#include "nightreel/model/patch_embedding.h"
#include "nightreel/model/text_embedder.h"
#include "support/error.h"

using namespace nightreel;
using test::deviation;

TEST_CASE("a time step becomes cosines and sines of falling frequencies, and a modulation of six rows") {
  at::manual_seed(1);
  model::TimeEmbedder embedder(test::small_config(), at::kCPU);
  const auto w = test::fill(embedder);
  const model::TimeEmbedding time = embedder.forward(at::tensor({500.0, 3.0}), 7);
  const at::Tensor steps = at::tensor({500.0F, 3.0F}).unsqueeze(1);
  const at::Tensor angles = steps * at::pow(10000.0, at::arange(4).to(at::kFloat) / -4);
  const at::Tensor hidden = at::silu(at::linear(at::cat({angles.cos(), angles.sin()}, -1), w[0], w[1]));
  const at::Tensor embedding = at::linear(hidden, w[2], w[3]);
  CHECK(time.tokens == 7);
  CHECK(deviation(time.embedding_BD, embedding) < 1e-3);
  CHECK(deviation(time.modulation_B6D.flatten(1), at::linear(at::silu(embedding), w[4], w[5])) < 1e-3);
  CHECK((time.modulation_B6D.sizes() == at::IntArrayRef{2, 6, 24}));
}

TEST_CASE("rows that all prompts pad with become one, whose bias says for how many it stands") {
  at::manual_seed(2);
  model::TextEmbedder embedder(test::small_config());
  test::fill(embedder);
  at::Tensor text_BTE = at::randn({2, 9, 10});
  text_BTE.slice(1, 4) = 0;
  text_BTE[0].slice(0, 3) = 0;  // the shorter of the two
  const model::Context context = embedder.forward(text_BTE);
  CHECK((context.rows_BTD.sizes() == at::IntArrayRef{2, 5, 24}));
  CHECK(at::equal(context.bias_T.slice(0, 0, 4), at::zeros({4})));
  CHECK(context.bias_T[4].item<double>() == doctest::Approx(std::log(5.0)));
  CHECK_FALSE(embedder.forward(at::randn({1, 9, 10})).bias_T.defined());
}

TEST_CASE("in bfloat16 every row stays") {
  model::TextEmbedder embedder(test::small_config());
  test::fill(embedder, "", at::kBFloat16);
  const model::Context context = embedder.forward(at::zeros({1, 9, 10}));
  CHECK(context.rows_BTD.size(1) == 9);
  CHECK_FALSE(context.bias_T.defined());
}

TEST_CASE("a text or a picture of another width is refused with both") {
  model::TextEmbedder text(test::small_config());
  CHECK(test::refusal([&] {
          text.forward(at::zeros({1, 9, 11}));
        }) == "transformer: text_dim is 10, but the text encoder's width is 11");
  card::TransformerConfig config = test::small_config(/*pictures=*/true);
  config.pos_embed_seq_len = 8;
  model::ImageEmbedder image(config);
  test::fill(image);
  CHECK(test::refusal([&] {
          image.forward(at::zeros({2, 4, 7}));
        }) == "transformer: image_dim is 6, but the image encoder gives 2x4x7");
  CHECK(test::refusal([&] {
          image.forward(at::zeros({1, 4, 6}));
        }) == "transformer: pos_embed_seq_len is 8, but the pictures have 4 vectors");
}

TEST_CASE("two pictures' vectors are one context, each with its position") {
  at::manual_seed(3);
  card::TransformerConfig config = test::small_config(/*pictures=*/true);
  config.pos_embed_seq_len = 8;
  model::ImageEmbedder embedder(config);
  const auto w = test::fill(embedder);
  const at::Tensor image_NTE = at::randn({2, 4, 6});
  const at::Tensor rows = embedder.forward(image_NTE).rows_BTD;
  at::Tensor expected = at::layer_norm(image_NTE.view({1, 8, 6}) + w[8], {6}, w[0], w[1], 1e-5);
  expected = at::linear(at::gelu(at::linear(expected, w[2], w[3])), w[4], w[5]);
  CHECK(deviation(rows, at::layer_norm(expected, {24}, w[6], w[7], 1e-5)) < 1e-5);
}

TEST_CASE("patches are what a convolution that does not overlap sees, and the head puts them back in their places") {
  at::manual_seed(4);
  const card::TransformerConfig config = test::small_config();
  model::PatchEmbedding embedding(config, config.in_channels);
  const auto w = test::fill(embedding, "patch_embedding");
  const at::Tensor latents = at::randn({2, 3, 2, 4, 6});
  const model::PatchGrid grid = embedding.grid(latents);
  CHECK((grid == model::PatchGrid{2, 2, 3}));
  const at::Tensor x = embedding.forward(latents, test::tokens_of(grid, 12));
  const at::Tensor kernel = w[0].view({24, 3, 1, 2, 2});
  CHECK(deviation(x, at::conv3d(latents, kernel, w[1], {1, 2, 2}).flatten(2).transpose(1, 2)) < 1e-5);

  model::Head head(config);
  model::ParameterList list(at::kFloat);
  head.parameters(list);
  const auto h = test::fill(list);
  const model::TimeEmbedding time = test::random_time(12, 24);
  const auto rows = (h[2] + time.embedding_BD.unsqueeze(1)).unbind(1);
  const at::Tensor normed = at::layer_norm(x, {24}, {}, {}, config.eps) * (1 + rows[1]) + rows[0];
  const at::Tensor cells = at::linear(normed, h[0], h[1]).view({2, 2, 2, 3, 1, 2, 2, 5});
  const at::Tensor velocity = head.forward(x, {time}, test::tokens_of(grid, 12), grid);
  CHECK((velocity.sizes() == at::IntArrayRef{2, 5, 2, 4, 6}));
  // Of the patch in frame 1, row 1, column 2: its lower left cell.
  CHECK(deviation(velocity[1].select(1, 1).select(1, 3).select(1, 4), cells[1][1][1][2][0][1][0]) < 1e-5);
}

TEST_CASE("latents that are no whole patches, or too many, are refused with their sizes") {
  card::TransformerConfig config = test::small_config();
  config.rope_max_seq_len = 4;
  const model::PatchEmbedding embedding(config, 3);
  const auto refused = [&](const std::vector<std::int64_t>& shape) {
    return test::error_of(base::ErrorKind::job, [&] { embedding.grid(at::empty(shape)); });
  };
  CHECK(refused({1, 4, 1, 2, 2}) == "transformer: latents of 1x4x1x2x2 where in_channels is 3");
  CHECK(refused({1, 3, 1, 3, 2}) == "transformer: latents of 1x3x1x3x2 do not divide into patches of 1x2x2");
  CHECK(refused({1, 3, 5, 2, 2}) ==
        "transformer: latents of 1x3x5x2x2 have more patches along one axis than rope_max_seq_len, 4");
  CHECK(refused({3, 1, 2, 2}) == "transformer: latents of 3x1x2x2 are not batch, channels, frames, rows, columns");
}
