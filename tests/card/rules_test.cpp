// What a video of a checkpoint may be: the one set of rules, asked without a job.
#include <doctest/doctest.h>

#include "card/checkpoint_folder.h"
#include "support/error.h"

namespace nightreel::card {
namespace {

using settings::Settings;
using test::card_of;
using test::thrown_by;

Settings video(std::int64_t height, std::int64_t width, std::int64_t frames, bool first = false, bool last = false) {
  Settings wanted;
  wanted.height = height;
  wanted.width = width;
  wanted.num_frames = frames;
  wanted.image = first ? "/first.png" : "";
  wanted.last_image = last ? "/last.png" : "";
  return wanted;
}

std::string refusal(const Card& card, const Settings& wanted) {
  const auto error = thrown_by([&] { card.check(wanted); });
  CHECK(error.kind == base::ErrorKind::job);
  return error.message;
}

TEST_CASE("sizes come in whole patches of the latents, and frames in whole latent frames") {
  const Card card = card_of(test::small_t2v());
  CHECK_NOTHROW(card.check(video(480, 832, 81)));
  CHECK(refusal(card, video(50, 832, 81)) == "height: 50 is no multiple of 16; nearest: 48, 64");
  CHECK(refusal(card, video(0, 832, 81)) == "height: 0 is no multiple of 16; nearest: 16");
  CHECK(refusal(card, video(480, -16, 81)) == "width: -16 is no multiple of 16; nearest: 16");
  CHECK(refusal(card, video(480, 832, 0)) == "num_frames: 0 is not 4n+1; nearest: 1");
  CHECK(refusal(card, video(480, 832, -3)) == "num_frames: -3 is not 4n+1; nearest: 1");
  CHECK(card.latent_shape(video(480, 832, 81)) == std::vector<std::int64_t>{16, 21, 60, 104});
}

TEST_CASE("the shorter rotary table of two experts is the limit") {
  test::CheckpointFiles files = test::t2v_a14b();
  files["transformer_2/config.json"]["rope_max_seq_len"] = 40;
  const Card card = card_of(files);
  Settings wanted = video(640, 640, 81);
  wanted.boundary_ratio = 0.9;
  CHECK_NOTHROW(card.check(wanted));
  wanted.width = 656;
  CHECK(refusal(card, wanted) == "width: 656 is more than this model's rope_max_seq_len of 40 allows; at most 640");
}

TEST_CASE("each kind of model takes its own pictures") {
  const Settings text = video(480, 832, 81);
  const Settings first = video(480, 832, 81, true);
  const Settings both = video(480, 832, 81, true, true);
  const Card t2v = card_of(test::small_t2v());
  const Card i2v = card_of(test::wan21_14b(36, 0));
  const Card flf2v = card_of(test::wan21_14b(36, 514));
  CHECK_NOTHROW(t2v.check(text));
  CHECK(refusal(t2v, first) == "image: this model makes videos from text alone: leave it out");
  CHECK(refusal(t2v, video(480, 832, 81, false, true)) ==
        "last_image: this model makes videos from text alone: leave it out");
  CHECK(refusal(i2v, text) == "image: is required by this image-to-video model");
  CHECK_NOTHROW(i2v.check(first));
  CHECK(refusal(i2v, both) == "last_image: this model takes a first picture only");
  CHECK(refusal(flf2v, first) == "last_image: this model needs the first and the last picture");
  CHECK(refusal(flf2v, text) == "image: this model needs the first and the last picture");
  CHECK_NOTHROW(flf2v.check(both));
  CHECK(refusal(flf2v, video(480, 832, 1, true, true)) == "num_frames: 1 leaves no room for a last picture");
  const Card ti2v = card_of(test::ti2v_5b());
  CHECK_NOTHROW(ti2v.check(video(704, 1280, 121)));
  CHECK_NOTHROW(ti2v.check(video(704, 1280, 121, true)));
  CHECK(refusal(ti2v, video(704, 1280, 121, true, true)) == "last_image: this model takes a first picture only");
}

TEST_CASE("what belongs to two experts goes with no model of one, and the other way round") {
  const Card one = card_of(test::small_t2v());
  Settings wanted = video(480, 832, 81);
  wanted.guidance_scale_2 = 3;
  CHECK(refusal(one, wanted) == "guidance_scale_2: this model has one expert: leave it out");
  wanted.guidance_scale_2.reset();
  wanted.loras = {{"/a.safetensors"}, {"/b.safetensors", 1.0, "low"}};
  CHECK(refusal(one, wanted) == "loras: [1]: expert: low: this model has one expert: leave it out");
  const Card two = card_of(test::t2v_a14b());
  CHECK(refusal(two, wanted) ==
        "boundary_ratio: this model has two experts, and neither job nor checkpoint says where they change over");
  wanted.boundary_ratio = 0.9;
  CHECK_NOTHROW(two.check(wanted));
  CHECK(refusal(one, wanted) == "boundary_ratio: this model has one expert: leave it out");
  CHECK_NOTHROW(one.check_size(wanted));
}

}  // namespace
}  // namespace nightreel::card
