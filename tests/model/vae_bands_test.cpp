// The VAE over a group of ranks gives the pixels and the latents that it gives alone.
#include "model/vae_bands.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <doctest/doctest.h>

#include <map>
#include <sstream>
#include <vector>

#include "comm/host_copies.h"
#include "comm/store_group.h"
#include "nightreel/model/vae.h"
#include "support/checked_device.h"
#include "support/golden.h"

using namespace nightreel;
using test::Golden;
using test::kLong;

namespace {

at::Tensor decode(const model::Vae& vae, const at::Tensor& latents_1CTYX, comm::Communicator* group) {
  std::vector<at::Tensor> pieces;
  vae.decode(
      latents_1CTYX, [&](const at::Tensor& pixels_13FHW) { pieces.push_back(pixels_13FHW.clone()); }, group);
  return at::cat(pieces, 2);
}

/// A clip, and what becomes of it without a group. Computed once, before the members are forked.
struct Coded {
  at::Tensor latents_1CTYX, frames_B3FHW;
  at::Tensor decoded, encoded;
};

/// Eleven latent rows, which no group divides; three, which are too few for some.
std::vector<Coded> coded_alone(const std::string& name, at::Device device = at::kCPU) {
  test::compute_in_one_thread();
  const auto vae = model::Vae::load(test::golden_path(name + "/model/vae"), device, at::kFloat);
  const Golden golden(name + "/vae");
  std::vector<Coded> all;
  for (const auto& [latents, frames] :
       {std::pair{"tiled.latents", "tiled.frames"}, std::pair{"latents_1", "frames_1"}}) {
    Coded one{golden.tensor(latents).slice(0, 0, 1), golden.tensor(frames), {}, {}};
    one.decoded = decode(vae, one.latents_1CTYX, nullptr).to(at::kCPU);
    one.encoded = vae.encode(one.frames_B3FHW);
    all.push_back(one);
  }
  return all;
}

/// What is not as it is alone, as text.
std::string wrong_codings(const std::string& name, const std::vector<Coded>& alone, comm::Communicator& group,
                          at::Device device = at::kCPU) {
  const auto vae = model::Vae::load(test::golden_path(name + "/model/vae"), device, at::kFloat);
  std::ostringstream wrong;
  const auto compare = [&](const char* what, const at::Tensor& together, const at::Tensor& expected) {
    const double error = test::relative_error(together, expected);
    if (!(error < 1e-5)) wrong << name << " " << what << ": " << error << "; ";
  };
  for (const Coded& one : alone) {
    const at::Tensor pixels = decode(vae, one.latents_1CTYX, &group).to(at::kCPU);
    compare("decode", pixels, one.decoded);
    // A convolution of fewer rows may add in another order: a value between two bytes may go to the other one.
    const at::Tensor apart = (model::to_bytes(pixels).to(at::kInt) - model::to_bytes(one.decoded).to(at::kInt)).abs();
    if (apart.max().item<int>() > 1) wrong << name << ": other bytes; ";
    if (apart.count_nonzero().item<std::int64_t>() * 1000 > apart.numel()) wrong << name << ": more than rounding; ";
    compare("encode", vae.encode(one.frames_B3FHW, &group), one.encoded);
  }
  return wrong.str();
}

}  // namespace

TEST_CASE("1, 2, 3, 4 and 8 ranks code a video as one does, with the Wan 2.1 and the Wan 2.2 VAE") {
  std::map<std::string, std::vector<Coded>> alone;
  for (const char* name : {"plain", "ti2v"}) alone[name] = coded_alone(name);
  for (const int size : {1, 2, 3, 4, 8}) {
    CAPTURE(size);
    const auto outcomes = test::in_group(size, kLong, [&](comm::Communicator& group) {
      std::string wrong;
      for (const auto& [name, coded] : alone) wrong += wrong_codings(name, coded, group);
      group.finalize();
      return wrong + "end";
    });
    for (const std::string& outcome : outcomes) CHECK(outcome == "end");
  }
}

TEST_CASE("they do so on another device, from tensors of that device alone") {
  const auto alone = coded_alone("plain", test::checked_device());
  const auto outcomes = test::in_group(2, kLong, [&](comm::Communicator& group) {
    test::HostCopies copies(group);
    const std::string wrong = wrong_codings("plain", alone, copies, test::checked_device());
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
