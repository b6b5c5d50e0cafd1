#include "render/fake_maker.h"

#include <ATen/ATen.h>

#include "comm/host_copies.h"
#include "nightreel/base/error.h"

namespace nightreel::test {
namespace {

// Says so when the group is no more: a test that needs it cannot see it from outside.
class WatchedGroup final : public HostCopies {
 public:
  WatchedGroup(std::unique_ptr<comm::Communicator> group, Diary& diary) : HostCopies(std::move(group)), diary_(diary) {}
  void broadcast(at::Tensor& tensor, int root) override {
    watched([&] { HostCopies::broadcast(tensor, root); });
  }
  at::Tensor all_gather(const at::Tensor& tensor) override {
    at::Tensor all;
    watched([&] { all = HostCopies::all_gather(tensor); });
    return all;
  }
  void finalize() override {
    HostCopies::finalize();
    diary_.add("part");
  }

 private:
  template <typename Work>
  void watched(const Work& work) {
    try {
      work();
    } catch (const base::Error&) {
      diary_.add("lost");
      throw;
    }
  }
  Diary& diary_;
};

void require_right(bool right, const std::string& what) {
  if (!right) throw base::Error(base::ErrorKind::internal, "the fake maker was given a wrong " + what);
}

}  // namespace

FakeMaker::FakeMaker() {
  facts_.model_digest = "0123456789abcdef0123456789abcdef";
  facts_.model = facts_.versions = protocol::Json::object();
  facts_.device = "cpu";
}

render::Agreement* FakeMaker::share(std::unique_ptr<comm::Communicator> group, std::chrono::milliseconds told) {
  if (!group) {
    agreement_.reset();
    const auto before = std::move(group_);
    before->finalize();
  } else {
    diary->add("share " + std::to_string(group->rank()) + "/" + std::to_string(group->size()));
    if (group->size() == 1) return nullptr;
    group_ = std::make_unique<WatchedGroup>(std::move(group), *diary);
    agreement_ = std::make_unique<render::Agreement>(*group_, at::kCPU, deadline.value_or(told));
  }
  return agreement_.get();
}

render::Prepared FakeMaker::prepare(const settings::Settings& settings) const {
  if (on_call) on_call({"prepare", settings.prompt, nullptr});
  render::Prepared prepared;
  prepared.inputs_hash = "of " + settings.prompt;
  return prepared;
}

void FakeMaker::work(const std::string& verb, const render::Video& video) {
  const std::string& job = video.settings.prompt;
  diary->add(verb + " " + job);
  require_right(video.prepared.inputs_hash == "of " + job, "preparation");
  const render::Checkpointing& saving = video.saving;
  require_right(saving.path == job + ".state" && saving.every == 7 && saving.job == job + ".hash", "checkpoint");
  if (on_call) on_call({verb, job, &video.observer});
  const auto look = [&] { video.observer.cancel.throw_if_cancelled(); };
  agreement_ ? agreement_->together(look) : look();
}

render::Rendered FakeMaker::render(const render::Video& video) {
  work("render", video);
  render::Rendered rendered;
  rendered.frames_FHW3 = at::zeros({5, 16, 8, 3}, at::kByte);
  rendered.resumed_step = 3;
  rendered.timings["denoise"] = 1.5;
  return rendered;
}

render::Begun FakeMaker::begin(const render::Video& video) {
  work("begin", video);
  render::Begun begun;
  begun.timings["begun " + video.settings.prompt] = 1;
  begun.unsaved = unsaved;
  return begun;
}

render::Rendered FakeMaker::finish(const render::Video& video, render::Begun begun) {
  work("finish", video);
  require_right(begun.timings.count("begun " + video.settings.prompt) == 1, "half of a video");
  render::Rendered rendered;
  rendered.frames_FHW3 = at::zeros({5, 16, 8, 3}, at::kByte);
  return rendered;
}

void FakeMaker::write(const settings::Settings& settings, const protocol::Json& spec, const render::OutputFiles& files,
                      render::Rendered& rendered) const {
  diary->add("write " + settings.prompt);
  if (on_call) on_call({"write", settings.prompt, nullptr});
  require_right(spec == protocol::Json{{"prompt", settings.prompt}}, "job");
  diary->add("files of " + settings.prompt + ": " + files.video + " " + files.sheet + " " + files.archive + " " +
             files.archive_content + " " + std::to_string(settings.crf));
  rendered.timings["encode"] = 0.5;
}

}  // namespace nightreel::test
