// The pieces start and start-video: a renderer is started, as a rank does, and the first picture, or the last, waited
// for. Nothing stays behind.

#include <unistd.h>

#include <filesystem>
#include <optional>

#include "app/engine/bench.h"
#include "app/engine/subcommands.h"
#include "nightreel/base/clock.h"
#include "nightreel/base/error.h"
#include "nightreel/base/pipe.h"
#include "nightreel/base/process.h"
#include "nightreel/bench/random_weights.h"
#include "nightreel/media/archive.h"
#include "nightreel/protocol/engine_options.h"
#include "nightreel/protocol/message.h"

namespace nightreel::app {
namespace {

using base::Error;
using base::ErrorKind;
using std::chrono::seconds;

constexpr const char* kJob = "bench";
constexpr seconds kPatience{600};  // for one event: the first step of a large model on a slow disk

class Start final : public bench::Piece {
 public:
  Start(bool whole_video, const render::MakerOptions& maker, const settings::Settings& settings)
      : whole_video_(whole_video) {
    child_.argv = protocol::renderer_argv(maker);
    request_.job = kJob;
    request_.settings = settings;
    request_.spec = protocol::Json::object();
    request_.archive = folder_.file("video.h5");
    request_.archive_content = "frames";
  }

  double run() override {
    std::filesystem::remove(request_.archive);
    const base::Stopwatch watch;
    base::Child renderer(child_);
    base::LineReader events(renderer.stdout_fd(), protocol::kMaxLine);
    base::write_line(renderer.stdin_fd(), protocol::encode(request_));
    std::optional<double> taken;
    while (!is_done(next_event(events), watch, taken)) continue;
    base::write_line(renderer.stdin_fd(), protocol::encode_plain("shutdown"));
    if (!renderer.wait(seconds(30))) throw Error(ErrorKind::renderer, "the renderer does not end");
    if (!taken) throw Error(ErrorKind::renderer, "the renderer told of no decoded frame");
    return *taken;
  }

  /// Pictures [F, H, W, 3] in 0..1.
  at::Tensor result() override {
    const media::Archive archive = media::read_archive(request_.archive);
    return bench::pictures(archive.frames_shape, archive.rgb);
  }

  bench::PieceFacts facts() const override {
    bench::PieceFacts facts;
    facts.in_this_process = false;
    return facts;
  }

 private:
  protocol::Message next_event(base::LineReader& events) const {
    std::string line;
    switch (events.next(line, kPatience)) {
      case base::LineReader::Status::line:
        return protocol::decode_event(line);
      case base::LineReader::Status::closed:
        throw Error(ErrorKind::renderer, "the renderer ended before its video was done");
      case base::LineReader::Status::timeout:
        break;
    }
    throw Error(ErrorKind::renderer, "no event from the renderer");
  }

  /// Notes the moment that is waited for. True when the video is written.
  bool is_done(const protocol::Message& event, const base::Stopwatch& watch, std::optional<double>& taken) const {
    if (event.type == "failed") {
      const auto failed = protocol::failed_event(event);
      throw Error(failed.kind, failed.message);
    }
    if (event.type == "progress") {
      const auto progress = protocol::progress_event(event);
      const bool due = progress.stage == "decode" && progress.step >= (whole_video_ ? progress.steps : 1);
      if (due && !taken) taken = watch.seconds();
    }
    return event.type == "done";
  }

  bool whole_video_;
  bench::ScratchFolder folder_;
  base::ChildOptions child_;
  protocol::RenderRequest request_;
};

std::vector<bench::PieceKind> start_kinds() {
  return {{"start", "first frame", "frames", 1.0 / 255, 0.2}, {"start-video", "last frame", "frames", 1.0 / 255, 0.2}};
}

/// `settings` with a prompt. Throws what the renderer reports.
std::unique_ptr<bench::Piece> make_start_piece(const std::string& name, const render::MakerOptions& maker,
                                               const settings::Settings& settings) {
  return std::make_unique<Start>(name == "start-video", maker, settings);
}

}  // namespace

void add_bench(CLI::App& app, Action& action) {
  add_bench_with(app, action, {start_kinds(), make_start_piece});
}

}  // namespace nightreel::app
