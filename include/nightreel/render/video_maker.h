// One video from its settings: text, pipeline and media put together. What the renderer process and `generate` share.
//
// Owns the loaded model. Threads and errors: maker.h.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "nightreel/base/log.h"
#include "nightreel/comm/communicator.h"
#include "nightreel/job/memory.h"
#include "nightreel/model/fully_sharded.h"
#include "nightreel/render/maker.h"

namespace nightreel::render {

struct MakerOptions {
  std::string model;                   // folder, in either layout
  std::string device = "auto";         // auto, cpu, cuda, cuda:GPU-<uuid>
  std::string dtype = "auto";          // auto: bf16 on a GPU, f32 on a CPU; bf16, f32; fp8: auto, with weights in fp8
  int threads = 2;                     // of LibTorch's CPU kernels
  std::uint64_t gpu_memory = 0;        // bytes to plan with; 0: what the GPU has free, no limit on a CPU
  job::StageBytes memory_failed = {};  // plans that have run out of memory (job::DeviceMemory)
  int host_ranks = 1;                  // renderers of this host, which share its memory
  model::ShardSeat shard = {};         // in a group that is to come: whose share of the transformers' blocks to keep
  std::string stage = {};              // folder of this host to copy the checkpoint to and read it from; empty: none
  base::Logger log = {};               // of loading
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
  Rendered render(const settings::Settings& settings, const Prepared& prepared, const Checkpointing& checkpointing,
                  const RenderObserver& observer) override;
  std::int64_t wave(const settings::Settings& settings) const override;
  Begun begin(const settings::Settings& settings, const Prepared& prepared, const Checkpointing& checkpointing,
              const RenderObserver& observer) override;
  Rendered finish(const settings::Settings& settings, const Prepared& prepared, const Checkpointing& checkpointing,
                  const RenderObserver& observer, Begun begun) override;
  void write(const settings::Settings& settings, const protocol::Json& spec, const OutputFiles& files,
             Rendered& rendered) const override;

 private:
  struct Parts;
  /// Null: alone.
  Agreement* agreement() const;
  void adopt(const settings::Settings& settings, const Prepared& prepared);
  template <class Stage>
  void in_memory(const std::string& stage, const settings::Settings& settings, Begun& begun, const Stage& run);
  void answer_out_of_memory(const std::string& stage, const settings::Settings& settings, Begun& begun,
                            const std::string& why);
  job::MemoryPlan plan_for(const settings::Settings& settings) const;
  void reshard();
  /// Whether this renderer has the say: alone, or as rank 0.
  bool decides() const;
  Begun encode(const settings::Settings& settings, const Prepared& prepared, const Checkpointing& checkpointing,
               const RenderObserver& observer);
  void denoise(const settings::Settings& settings, const Prepared& prepared, const Checkpointing& checkpointing,
               const RenderObserver& observer, std::optional<std::int64_t> pause_after, Rendered& out, Begun& begun);
  std::unique_ptr<Parts> parts_;
};

}  // namespace nightreel::render
