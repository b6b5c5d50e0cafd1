// The VAE over a group of ranks gives the pixels and the latents that it gives alone.
#include "model/vae_bands.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <doctest/doctest.h>

#include <sstream>

#include "comm/host_copies.h"
#include "comm/store_group.h"
#include "nightreel/model/vae.h"
#include "support/checked_device.h"
#include "support/golden.h"

using namespace nightreel;
using test::Golden;

namespace {

constexpr std::chrono::seconds kLong{60};

at::Tensor decode(const model::Vae& vae, const at::Tensor& latents_1CTYX, comm::Communicator* group) {
  std::vector<at::Tensor> pieces;
  vae.decode(
      latents_1CTYX, [&](const at::Tensor& pixels_13FHW) { pieces.push_back(pixels_13FHW.clone()); }, group);
  return at::cat(pieces, 2);
}

/// What is not as it is alone, as text. Eleven latent rows, which no group divides; three, which are too few for some.
std::string wrong_codings(const std::string& name, comm::Communicator& group, at::Device device = at::kCPU) {
  const auto vae = model::Vae::load(test::golden_path(name + "/model/vae"), device, at::kFloat);
  const Golden golden(name + "/vae");
  std::ostringstream wrong;
  const auto compare = [&](const char* what, const at::Tensor& together, const at::Tensor& alone) {
    const double error = test::relative_error(together, alone);
    if (!(error < 1e-5)) wrong << name << " " << what << ": " << error << "; ";
  };
  for (const auto& [latents, frames] :
       {std::pair{"tiled.latents", "tiled.frames"}, std::pair{"latents_1", "frames_1"}}) {
    const at::Tensor latents_1CTYX = golden.tensor(latents).slice(0, 0, 1);
    const at::Tensor pixels = decode(vae, latents_1CTYX, &group).to(at::kCPU);
    const at::Tensor alone = decode(vae, latents_1CTYX, nullptr).to(at::kCPU);
    compare("decode", pixels, alone);
    // A convolution of fewer rows may add in another order: a value between two bytes may go to the other one.
    const at::Tensor apart = (model::to_bytes(pixels).to(at::kInt) - model::to_bytes(alone).to(at::kInt)).abs();
    if (apart.max().item<int>() > 1) wrong << name << ": other bytes; ";
    if (apart.count_nonzero().item<std::int64_t>() * 1000 > apart.numel()) wrong << name << ": more than rounding; ";
    const at::Tensor frames_B3FHW = golden.tensor(frames);
    compare("encode", vae.encode(frames_B3FHW, &group), vae.encode(frames_B3FHW));
  }
  return wrong.str();
}

}  // namespace

TEST_CASE("1, 2, 3, 4 and 8 ranks code a video as one does, with the Wan 2.1 and the Wan 2.2 VAE") {
  for (const int size : {1, 2, 3, 4, 8}) {
    CAPTURE(size);
    const auto outcomes = test::in_group(size, kLong, [](comm::Communicator& group) {
      std::string wrong;
      for (const char* name : {"plain", "ti2v"}) wrong += wrong_codings(name, group);
      group.finalize();
      return wrong + "end";
    });
    for (const std::string& outcome : outcomes) CHECK(outcome == "end");
  }
}

TEST_CASE("they do so on another device, from tensors of that device alone") {
  const auto outcomes = test::in_group(2, kLong, [](comm::Communicator& group) {
    test::HostCopies copies(group);
    const std::string wrong = wrong_codings("plain", copies, test::checked_device());
    group.finalize();
    return wrong + "end";
  });
  for (const std::string& outcome : outcomes) CHECK(outcome == "end");
}

TEST_CASE("bands are cut between latent rows, put together again, and see the rows next to them") {
  const auto outcomes = test::in_group(3, kLong, [](comm::Communicator& group) {
    std::string wrong;
    for (const std::int64_t rows : {3, 4, 8}) {
      const model::Bands bands(&group, rows);
      const at::Tensor all_TYXC = at::arange(2 * rows * 4 * 5, at::kFloat).view({2, rows * 4, 5, 1});
      const at::Tensor band_TYXC = bands.take(all_TYXC);
      const auto first = band_TYXC[0][0][0][0].item<std::int64_t>() / 5;
      if (first % 4 != 0 || band_TYXC.size(1) % 4 != 0) wrong += "cut ";
      if (!at::equal(bands.gather(band_TYXC), all_TYXC)) wrong += "gather ";
      const at::Tensor padded_TYXC = at::constant_pad_nd(all_TYXC, {0, 0, 0, 0, 1, 1});
      if (!at::equal(bands.row_above(band_TYXC), padded_TYXC.narrow(1, first, 1))) wrong += "above ";
      if (!at::equal(bands.row_below(band_TYXC), padded_TYXC.narrow(1, first + band_TYXC.size(1) + 1, 1))) {
        wrong += "below ";
      }
    }
    if (model::Bands(&group, 2).shared()) wrong += "too small ";
    group.finalize();
    return wrong + "end";
  });
  for (const std::string& outcome : outcomes) CHECK(outcome == "end");
  CHECK_FALSE(model::Bands(nullptr, 8).shared());
}
