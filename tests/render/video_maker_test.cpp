// The maker of videos itself, with a small real model: each member of a group is a thread here, and all of them render
// what one renders. What only processes show is in tests/e2e/render_group_test.py.
#include "nightreel/render/video_maker.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <iterator>

#include "comm/host_copies.h"
#include "nightreel/base/error.h"
#include "nightreel/base/file.h"
#include "nightreel/media/archive.h"
#include "nightreel/memory/plan.h"
#include "render/agreement.h"
#include "render/support.h"
#include "support/error.h"
#include "support/golden.h"
#include "support/temp_folder.h"

using namespace nightreel;
using render::Checkpointing;
using render::Rendered;
using render::VideoMaker;
using test::contains;
using test::kHang;
using test::TempFolder;
using Group = std::unique_ptr<comm::Communicator>;

namespace fs = std::filesystem;

namespace {

constexpr std::int64_t kSteps = 8;

render::MakerOptions shapes_on_cpu() {
  render::MakerOptions options;
  options.model = std::string(std::getenv("NIGHTREEL_SOURCE_DIR")) + "/models/shapes";
  options.device = "cpu";
  options.threads = 1;
  return options;
}

settings::Settings red_circle(std::int64_t steps = kSteps) {
  settings::Settings settings;
  settings.prompt = "a red circle moves right on a black background";
  settings.negative_prompt = "blurred";
  settings.height = 48;
  settings.width = 32;
  settings.num_frames = 5;
  settings.fps = 8;
  settings.num_inference_steps = steps;
  settings.guidance_scale = 3;
  settings.boundary_ratio = 0;  // the first expert alone
  settings.seed = 1;
  return settings;
}

/// What a maker tells while it works, and when it is to stop or to cancel; stays where it is.
struct Watched {
  std::vector<std::int64_t> steps;
  std::vector<std::int64_t> saved;
  std::int64_t stop_after = 0;
  std::int64_t cancel_after = 0;
  render::RenderObserver observer;

  Watched() {
    observer.progress = [this](const std::string& stage, std::int64_t step, std::int64_t) {
      if (stage != "denoise") return;
      steps.push_back(step);
      if (step > 0 && step == cancel_after) observer.cancel.cancel();
    };
    observer.stop_asked = [this] { return stop_after > 0 && steps.back() >= stop_after; };
    observer.saved = [this](std::int64_t step) { saved.push_back(step); };
  }
  Watched(const Watched&) = delete;
  Watched& operator=(const Watched&) = delete;
};

Rendered render_with(VideoMaker& maker, const settings::Settings& settings, const Checkpointing& checkpointing = {}) {
  Watched watched;
  return maker.render({settings, maker.prepare(settings), checkpointing, watched.observer});
}

/// As one renders it.
const Rendered& rendered_alone() {
  static const Rendered video = [] {
    VideoMaker maker(shapes_on_cpu());
    return render_with(maker, red_circle());
  }();
  return video;
}

/// The videos of `size` makers that share a group, in rank order; what one of them throws fails the test.
std::vector<Rendered> rendered_by(int size, const std::function<render::MakerOptions(int rank)>& options,
                                  const settings::Settings& settings, const Checkpointing& checkpointing = {}) {
  std::vector<Rendered> videos(static_cast<std::size_t>(size));
  const auto thrown = test::in_threads(size, [&](Group group) {
    const int rank = group->rank();
    VideoMaker maker(options(rank));
    maker.share(std::move(group), kHang);
    videos[static_cast<std::size_t>(rank)] = render_with(maker, settings, checkpointing);
    if (size > 1) maker.share(nullptr, kHang);
  });
  for (const std::string& one : thrown) CHECK(one == "");
  return videos;
}

double apart(const at::Tensor& ours, const at::Tensor& theirs) {
  if (!ours.defined() || ours.sizes() != theirs.sizes()) return 1;
  const double gap = ((ours - theirs).norm() / theirs.norm()).item<double>();
  return std::isfinite(gap) ? gap : 1;
}

void check_same_video(const Rendered& ours, const Rendered& theirs) {
  CHECK(apart(ours.latents_CFYX, theirs.latents_CFYX) < 2e-5);
  REQUIRE(ours.frames_FHW3.sizes() == theirs.frames_FHW3.sizes());
  const at::Tensor off = (ours.frames_FHW3.to(at::kInt) - theirs.frames_FHW3.to(at::kInt)).abs();
  CHECK(off.max().item<int>() <= 1);
  CHECK(off.count_nonzero().item<std::int64_t>() * 1000 < off.numel());
}

/// Tells whether it was ended in good order.
class EndedGroup final : public test::HostCopies {
 public:
  EndedGroup(Group group, bool& ended) : HostCopies(std::move(group)), ended_(ended) {}
  void finalize() override {
    HostCopies::finalize();
    ended_ = true;
  }

 private:
  bool& ended_;
};

/// One line a member of what it threw; each member has its Watched and its Checkpointing. The group renders on.
template <typename Prepare>
std::vector<std::string> interrupted(int size, const Prepare& prepare) {
  std::vector<std::string> outcomes(static_cast<std::size_t>(size));
  const auto thrown = test::in_threads(size, [&](Group group) {
    const int rank = group->rank();
    VideoMaker maker(shapes_on_cpu());
    maker.share(std::move(group), kHang);
    Watched watched;
    settings::Settings settings = red_circle();
    Checkpointing checkpointing;
    prepare(rank, watched, settings, checkpointing);
    std::string& outcome = outcomes[static_cast<std::size_t>(rank)];
    outcome = test::thrown_text([&] {
      maker.render({settings, maker.prepare(settings), checkpointing, watched.observer});
    });
    outcome += " (step " + std::to_string(watched.steps.empty() ? 0 : watched.steps.back()) + ", saved";
    for (const std::int64_t step : watched.saved) outcome += " " + std::to_string(step);
    outcome += ")";
    render_with(maker, red_circle(1));
    maker.share(nullptr, kHang);
  });
  for (std::size_t rank = 0; rank < outcomes.size(); ++rank) outcomes[rank] += thrown[rank];
  return outcomes;
}

}  // namespace

TEST_CASE("groups of 2, 3 and 4 render the video that one renders") {
  CHECK(rendered_alone().latents_CFYX.isfinite().all().item<bool>());
  for (const int size : {2, 3, 4}) {
    CAPTURE(size);
    for (const Rendered& video : rendered_by(
             size, [](int) { return shapes_on_cpu(); }, red_circle())) {
      check_same_video(video, rendered_alone());
    }
  }
}

TEST_CASE("members that part end their group in good order, and each renders alone from then on") {
  const auto thrown = test::in_threads(2, [&](Group group) {
    VideoMaker maker(shapes_on_cpu());
    bool ended = false;
    CHECK(maker.share(std::make_unique<EndedGroup>(std::move(group), ended), kHang) != nullptr);
    render_with(maker, red_circle(1));
    CHECK(maker.share(nullptr, kHang) == nullptr);
    CHECK(ended);
    CHECK(at::equal(render_with(maker, red_circle()).latents_CFYX, rendered_alone().latents_CFYX));
  });
  for (const std::string& one : thrown) CHECK(one == "");
}

TEST_CASE("groups that keep the weights in shards render the same bits, also those that lack a member") {
  const TempFolder folder;
  for (const auto& [size, planned] : std::vector<std::pair<int, int>>{{2, 2}, {3, 3}, {2, 3}, {1, 2}}) {
    CAPTURE(size);
    CAPTURE(planned);
    const auto whole = rendered_by(
        size, [](int) { return shapes_on_cpu(); }, red_circle(2));
    const auto log_of = [&, planned = planned, size = size](int rank) {
      return folder / (std::to_string(size) + "-" + std::to_string(planned) + "-" + std::to_string(rank));
    };
    const auto in_shards = [&, planned = planned](int rank) {
      render::MakerOptions options = shapes_on_cpu();
      options.shard = {rank, planned};
      options.log = base::Logger::to_stderr_and_file(base::LogFormat::text, "renderer", log_of(rank));
      return options;
    };
    const auto sharded = rendered_by(size, in_shards, red_circle(2));
    const std::string again =
        "were sharded over " + std::to_string(planned) + " ranks, and " + std::to_string(size) + " render";
    for (int rank = 0; rank < size; ++rank) {
      const auto at = static_cast<std::size_t>(rank);
      CHECK(at::equal(sharded[at].latents_CFYX, whole[at].latents_CFYX));
      CHECK(at::equal(sharded[at].frames_FHW3, whole[at].frames_FHW3));
      CHECK(contains(base::read_file(log_of(rank), 1U << 20U), again) == (size != planned));
    }
  }
}

TEST_CASE("a group reads every byte once, and has the weights that one has") {
  VideoMaker alone(shapes_on_cpu());
  const protocol::ReadyEvent& ready = alone.facts();
  CHECK_FALSE(ready.load.shared);
  const at::Tensor latents_CFYX = render_with(alone, red_circle(2)).latents_CFYX;
  for (const int size : {1, 2, 3}) {
    CAPTURE(size);
    std::vector<protocol::ReadyEvent> facts(static_cast<std::size_t>(size));
    std::vector<at::Tensor> latents(static_cast<std::size_t>(size));
    const auto thrown = test::in_threads(size, [&](Group group) {
      const auto rank = static_cast<std::size_t>(group->rank());
      VideoMaker maker(shapes_on_cpu(), std::move(group));
      facts[rank] = maker.facts();
      latents[rank] = render_with(maker, red_circle(2)).latents_CFYX;
    });
    std::uint64_t read = 0;
    for (std::size_t rank = 0; rank < thrown.size(); ++rank) {
      CHECK(thrown[rank] == "");
      CHECK(facts[rank].model_digest == ready.model_digest);
      CHECK(facts[rank].load.shared == (size > 1));
      CHECK(at::equal(latents[rank], latents_CFYX));
      read += facts[rank].load.bytes_read;
    }
    CHECK(read <= ready.load.bytes_read);
    CHECK(read > ready.load.bytes_read / 10 * 9);  // but a tied copy
  }
}

TEST_CASE("a video that rank 0 cancels ends on all after the same step, and the group goes on") {
  const auto outcomes = interrupted(3, [](int rank, Watched& watched, settings::Settings&, Checkpointing&) {
    if (rank == 0) watched.cancel_after = 2;
  });
  for (const std::string& outcome : outcomes) CHECK(outcome == "interrupted: cancelled (step 2, saved)");
}

TEST_CASE("a video that rank 0 stops is kept by rank 0 alone, and goes on in another group of another size") {
  const TempFolder folder;
  const std::string state = folder / "state";
  const auto outcomes =
      interrupted(2, [&](int rank, Watched& watched, settings::Settings&, Checkpointing& checkpointing) {
        checkpointing = {rank == 0 ? state : folder / "nobody's", 4};
        if (rank == 0) watched.stop_after = 5;
      });
  CHECK(outcomes[0] == "interrupted: stopped after step 5 (step 5, saved 4 5)");
  CHECK(outcomes[1] == "interrupted: stopped after step 5 (step 5, saved)");
  CHECK(fs::exists(state));
  CHECK_FALSE(fs::exists(folder / "nobody's"));
  for (const Rendered& video : rendered_by(3, [](int) { return shapes_on_cpu(); }, red_circle(), {state, 0})) {
    CHECK(video.resumed_step == 5);
    check_same_video(video, rendered_alone());
  }
}

TEST_CASE(
    "one that is alone stops and goes on to the same bits; a broken state is set aside and costs its time alone") {
  const TempFolder folder;
  const std::string state = folder / "state";
  VideoMaker maker(shapes_on_cpu());
  Watched watched;
  watched.stop_after = 5;
  const auto prepared = maker.prepare(red_circle());
  const auto stopped = test::thrown_by([&] { maker.render({red_circle(), prepared, {state, 0}, watched.observer}); });
  CHECK(stopped.message == "stopped after step 5");
  CHECK(watched.saved == std::vector<std::int64_t>{5});
  const Rendered resumed = render_with(maker, red_circle(), {state, 0});
  CHECK(resumed.resumed_step == 5);
  CHECK(at::equal(resumed.latents_CFYX, rendered_alone().latents_CFYX));
  folder.write("state", "no checkpoint at all");
  CHECK(render_with(maker, red_circle(1), {state, 0}).resumed_step == 0);
  CHECK(fs::exists(state + ".broken"));
}

TEST_CASE("without a place for its state a video is not stopped, and is rendered to its end") {
  VideoMaker maker(shapes_on_cpu());
  Watched watched;
  watched.stop_after = 1;
  const auto prepared = maker.prepare(red_circle(2));
  CHECK(maker.render({red_circle(2), prepared, {}, watched.observer}).frames_FHW3.size(0) == 5);
  CHECK(watched.saved.empty());
}

TEST_CASE("a state that rank 0 cannot write ends the video on all, and the group goes on") {
  const TempFolder folder;
  const auto outcomes = interrupted(2, [&](int, Watched&, settings::Settings&, Checkpointing& checkpointing) {
    checkpointing = {folder / "no folder/state", 2};
  });
  CHECK_MESSAGE(outcomes[0].rfind("storage: ", 0) == 0, outcomes[0]);
  CHECK(contains(outcomes[0], "no folder"));
  CHECK(outcomes[1].rfind("interrupted: ", 0) == 0);
}

TEST_CASE("settings that one member cannot render fail on all before the first step, and the group goes on") {
  const auto outcomes = interrupted(2, [](int rank, Watched&, settings::Settings& settings, Checkpointing&) {
    if (rank == 1) settings.height = 50;
  });
  for (const std::string& outcome : outcomes) {
    CHECK_MESSAGE(outcome.rfind("job: rank 1 of the group: ", 0) == 0, outcome);
    CHECK(contains(outcome, "height"));
    CHECK(contains(outcome, "(step 0, saved)"));
  }
}

TEST_CASE("a group's videos in waves are those that one renders one after the other") {
  render::MakerOptions options = shapes_on_cpu();
  options.model = test::golden_path("experts/model");
  std::vector<settings::Settings> jobs(2, red_circle(6));
  for (settings::Settings& settings : jobs) {
    settings.width = 64;
    settings.guidance_scale = 4;
    settings.guidance_scale_2 = 3;
    settings.flow_shift = 5;
    settings.boundary_ratio = 0.85;
  }
  jobs[1].seed = 2;
  std::vector<at::Tensor> alone;
  VideoMaker maker(options);
  CHECK(maker.wave(jobs[0]) == 1);
  for (const settings::Settings& settings : jobs) alone.push_back(render_with(maker, settings).latents_CFYX);
  memory::MemoryModel memory = memory::device_memory_from_json(maker.facts().memory).model;
  memory.group = 2;
  std::uint64_t at_work = 0;
  for (const auto& stage : memory::plan_memory(memory, jobs[0], 0).stages)
    at_work = std::max(at_work, stage.activations);
  const std::uint64_t expert = memory.of(memory::Part::transformer);
  options.gpu_memory = memory.of(memory::Part::text_encoder) + expert + expert / 2 + memory.of(memory::Part::vae) +
                       at_work;  // one expert beside the text encoder at work, not two

  const auto thrown = test::in_threads(2, [&](Group group) {
    VideoMaker member(options);
    member.share(std::move(group), kHang);
    std::string wrong = member.wave(jobs[0]) > 1 ? "" : "no waves; ";
    Watched watched;
    std::vector<render::Begun> begun;
    for (const settings::Settings& settings : jobs) {
      begun.push_back(member.begin({settings, member.prepare(settings), {}, watched.observer}));
      if (!begun.back().state || begun.back().state->sampler.next_step == 0) wrong += "nothing done; ";
    }
    for (std::size_t i = 0; i < jobs.size(); ++i) {
      const auto video = member.finish({jobs[i], member.prepare(jobs[i]), {}, watched.observer}, std::move(begun[i]));
      const double gap = apart(video.latents_CFYX, alone[i]);
      if (!(gap < 2e-5)) wrong += "latents by " + std::to_string(gap) + "; ";
    }
    member.share(nullptr, kHang);
    if (!wrong.empty()) throw base::Error(base::ErrorKind::numeric, wrong);
  });
  for (const std::string& one : thrown) CHECK(one == "");
}

TEST_CASE("files are written as asked, and a folder that is not there is an error of storage that names it") {
  const TempFolder folder;
  const VideoMaker maker(shapes_on_cpu());
  Rendered video = rendered_alone();
  maker.write(red_circle(), {{"prompt", "as given"}}, {folder / "a.mp4", folder / "a.jpg", folder / "a.h5", "frames"},
              video);
  CHECK(fs::file_size(folder / "a.mp4") > 0);
  CHECK(fs::file_size(folder / "a.jpg") > 0);
  CHECK(video.timings.count("encode") == 1);
  const media::Archive archive = media::read_archive(folder / "a.h5");
  CHECK(archive.job == protocol::Json{{"prompt", "as given"}});
  CHECK(archive.has_frames());
  const at::Tensor dense = video.latents_CFYX.contiguous();
  CHECK(std::equal(archive.latents.begin(), archive.latents.end(), dense.const_data_ptr<float>()));
  CHECK(static_cast<std::int64_t>(archive.latents.size()) == dense.numel());
  maker.write(red_circle(), {}, {}, video);
  CHECK(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()) == 3);
  render::OutputFiles nowhere;
  nowhere.video = folder / "no folder/x.mp4";
  const auto thrown = test::thrown_by([&] { maker.write(red_circle(), {}, nowhere, video); });
  CHECK(thrown.kind == base::ErrorKind::storage);
  CHECK(contains(thrown.message, "no folder"));
}
