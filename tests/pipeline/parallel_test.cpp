// One video rendered by a group of ranks is the video that one rank renders; a group that loses a member says whom.
#include <ATen/ATen.h>
#include <doctest/doctest.h>
#include <unistd.h>

#include <csignal>
#include <sstream>

#include "comm/members.h"
#include "comm/store_group.h"
#include "nightreel/base/error.h"
#include "pipeline/golden_run.h"
#include "pipeline/parallel_plan.h"

using namespace nightreel;
using pipeline::AfterStep;
using pipeline::Pipeline;
using test::GoldenRun;
using test::kLong;
using Group = std::unique_ptr<comm::Communicator>;

namespace {

constexpr std::int64_t kSteps = 4;  // enough for both experts

struct Case {
  const char* name;
  const char* run;
};
// Guided; an expert that is not guided beside one that is; a picture as first frame; pictures beside the noise.
constexpr Case kCases[]{
    {"plain", "pipeline"}, {"experts", "run_half_guided"}, {"ti2v", "run_image"}, {"clip", "pipeline"}};

std::vector<std::int64_t> ids_of(const at::Tensor& ids_1S) {
  std::vector<std::int64_t> ids;
  for (std::int64_t i = 0; i < ids_1S.numel(); ++i) ids.push_back(ids_1S.flatten()[i].item<std::int64_t>());
  return ids;
}

struct Video {
  at::Tensor embeds, latents, frames;
};

Video render(Pipeline& pipeline, const GoldenRun& golden) {
  settings::Settings settings = golden.settings;
  if (settings.sigmas.empty()) settings.num_inference_steps = kSteps;
  Video video;
  video.embeds = pipeline.encode_prompt(ids_of(golden.tensor("ids"))).embeds_1TE;
  const at::Tensor negative = pipeline.encode_prompt(ids_of(golden.tensor("negative_ids"))).embeds_1TE;
  const pipeline::ImageCondition image = pipeline.encode_pictures(settings, golden.pictures());
  video.latents = pipeline.denoise({settings, video.embeds, negative, image}).latents_CFYX;
  std::vector<at::Tensor> pieces;
  pipeline.decode(video.latents, [&](const at::Tensor& frames_FHW3) { pieces.push_back(frames_FHW3); });
  video.frames = at::cat(pieces);
  return video;
}

Video alone_of(const Case& c) {
  test::compute_in_one_thread();
  const GoldenRun golden(c.name, c.run);
  Pipeline pipeline = Pipeline::load(card::read(golden.model_dir()), {});
  return render(pipeline, golden);
}

/// What the group's video has that one rank's has not, as text.
std::string wrong_video(const Case& c, const Video& alone, Group group) {
  const GoldenRun golden(c.name, c.run);
  Pipeline pipeline = Pipeline::load(card::read(golden.model_dir()), {});
  pipeline.share(std::move(group));
  const Video together = render(pipeline, golden);
  pipeline.share(nullptr);
  std::ostringstream wrong;
  if (!at::equal(together.embeds, alone.embeds)) wrong << "embeddings; ";
  const double error = test::relative_error(together.latents, alone.latents);
  if (!(error < 2e-5)) wrong << "latents by " << error << "; ";
  const at::Tensor apart = (together.frames.to(at::kInt) - alone.frames.to(at::kInt)).abs();
  if (apart.max().item<int>() > 1) wrong << "frames by " << apart.max().item<int>() << "; ";
  if (apart.count_nonzero().item<std::int64_t>() * 100 > apart.numel()) wrong << "more than rounding; ";
  return wrong.str();
}

/// Outcomes of `size` members that share a "plain" pipeline; `work` has the rank, too.
std::vector<std::string> sharing(int size, std::chrono::milliseconds deadline,
                                 const std::function<std::string(Pipeline&, const GoldenRun&, int)>& work) {
  return test::with_store(size, [&](const std::string& address, int rank) {
    const GoldenRun golden("plain");
    Pipeline pipeline = Pipeline::load(card::read(golden.model_dir()), {});
    pipeline.share(comm::make_store(address, rank, size, {deadline}));
    return work(pipeline, golden, rank);
  });
}

std::string text_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const base::Error& e) {
    return std::string(base::traits(e.kind()).name) + ": " + e.what();
  }
  return "nothing thrown";
}

}  // namespace

TEST_CASE("2, 3, 4 and 8 ranks render what one renders, guided or not, from text and from pictures") {
  std::vector<Video> alone;  // once, before the members are forked
  for (const Case& c : kCases) alone.push_back(alone_of(c));
  for (const int size : {2, 3, 4, 8}) {
    for (std::size_t i = 0; i < alone.size(); ++i) {
      if (size == 8 && i > 0) continue;
      CAPTURE(size);
      CAPTURE(kCases[i].name);
      const auto outcomes = test::with_store(size, [&](const std::string& address, int rank) {
        return wrong_video(kCases[i], alone[i], comm::make_store(address, rank, size, {kLong})) + "end";
      });
      for (const std::string& outcome : outcomes) CHECK(outcome == "end");
    }
  }
}

TEST_CASE("what one rank wants after a step is done by all, and one that is cancelled cancels all") {
  for (const bool cancels : {false, true}) {
    const auto outcomes = sharing(3, kLong, [&](Pipeline& pipeline, const GoldenRun& golden, int rank) {
      pipeline::DenoiseObserver observer;
      int saved = 0;
      observer.on_step = [&](std::int64_t done, std::int64_t) {
        if (rank != 1 || done != 2) return AfterStep::go_on;
        if (cancels) observer.cancel.cancel();
        return AfterStep::save_and_stop;
      };
      observer.save = [&](const pipeline::DenoiseState& state) { saved += state.sampler.next_step == 2 ? 1 : 100; };
      const std::string text = text_of([&] {
        pipeline.denoise({golden.settings, golden.prompt(), golden.negative()}, observer);
      });
      pipeline.share(nullptr);  // the group is still good
      return text + " (saved " + std::to_string(saved) + ")";
    });
    for (const std::string& outcome : outcomes) {
      CHECK(outcome == (cancels ? "interrupted: cancelled (saved 0)" : "interrupted: stopped after step 2 (saved 1)"));
    }
  }
}

TEST_CASE("ranks that were told different videos are told so before the first step") {
  const auto outcomes = sharing(2, kLong, [](Pipeline& pipeline, const GoldenRun& golden, int rank) {
    settings::Settings settings = golden.settings;
    settings.seed += static_cast<std::uint64_t>(rank);
    settings.flow_shift += rank;
    return text_of([&] { pipeline.denoise({settings, golden.prompt(), golden.negative()}); });
  });
  for (const std::string& outcome : outcomes) {
    CHECK_MESSAGE(outcome.find("different videos: flow_shift, seed differ") != std::string::npos, outcome);
    CHECK(outcome.rfind("comm: ", 0) == 0);
  }
}

TEST_CASE("members that are killed and frozen in the middle of a run are named within the deadline") {
  constexpr int kSize = 4;
  const test::Announcement address;
  std::vector<test::Member> members;
  for (int rank = 0; rank < kSize; ++rank) {
    members.emplace_back([&, rank] {
      const GoldenRun golden("plain");
      Pipeline pipeline = Pipeline::load(card::read(golden.model_dir()), {});
      pipeline.share(comm::make_store(address.wait(), rank, kSize, {std::chrono::seconds(8)}));
      pipeline::DenoiseObserver observer;
      observer.on_step = [&](std::int64_t done, std::int64_t) {
        if (done == 2 && rank == 1) ::raise(SIGKILL);
        if (done == 2 && rank == 2) ::raise(SIGSTOP);
        return AfterStep::go_on;
      };
      return text_of([&] { pipeline.denoise({golden.settings, golden.prompt(), golden.negative()}, observer); });
    });
  }
  const auto rendezvous = comm::make_store_rendezvous("127.0.0.1");
  address.tell(rendezvous->address(), kSize);
  for (const std::size_t rank : {0, 3}) {
    const std::string outcome = members[rank].outcome(kLong);
    CHECK_MESSAGE(outcome.find("ranks 1, 2 of 4 did not come within 8000 ms") != std::string::npos, outcome);
    CHECK(outcome.rfind("comm: ", 0) == 0);
  }
}
