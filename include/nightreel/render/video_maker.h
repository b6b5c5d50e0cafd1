// One video from its settings: text, pipeline and media put together. What the renderer process and `generate` share.
//
// Owns the loaded model. Threads and errors: maker.h.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>

#include "nightreel/base/log.h"
#include "nightreel/comm/communicator.h"
#include "nightreel/protocol/engine_options.h"
#include "nightreel/render/maker.h"

namespace nightreel::render {

struct LoadedModel;

struct MakerOptions : protocol::EngineOptions {
  base::Logger log = {};  // of loading
};

class VideoMaker final : public Maker {
 public:
  /// Sets the number of CPU threads of the process and, for cuda:GPU-<uuid>, the GPU that it sees; then loads.
  /// `loading`: a group whose ranks load the same model now and read its weights together; null: alone.
  explicit VideoMaker(const MakerOptions& options, std::unique_ptr<comm::Communicator> loading = nullptr);
  ~VideoMaker() override;

  const protocol::ReadyEvent& facts() const override;

  /// Where blocks are sharded over other ranks than the group's, or there is no group, the first video begins with
  /// reading them again; one that does not fit then is an Error{device_memory}, since elsewhere it may.
  Agreement* share(std::unique_ptr<comm::Communicator> group, std::chrono::milliseconds deadline) override;

  Prepared prepare(const settings::Settings& settings) const override;
  void plan_with(std::uint64_t bytes) override;
  /// A stage that runs out of memory is tried once more with the next plan that needs less there; the second time, and
  /// in a group at once, OutOfMemory is thrown, after which this object is of no use: another one shall begin with what
  /// it tells.
  Rendered render(const Video& video) override;
  std::int64_t wave(const settings::Settings& settings) const override;
  Begun begin(const Video& video) override;
  Rendered finish(const Video& video, Begun begun) override;
  void write(const settings::Settings& settings, const protocol::Json& spec, const OutputFiles& files,
             Rendered& rendered) const override;

 private:
  std::unique_ptr<LoadedModel> model_;
};

}  // namespace nightreel::render
