// What two ranks have read together is what one has read alone: the same numbers, on the same devices. The checked
// device stands for the GPU, a store with copies for NCCL.
#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>

#include "comm/host_copies.h"
#include "comm/store_group.h"
#include "nightreel/model/checkpoint.h"
#include "nightreel/weights/convert.h"
#include "nightreel/weights/shared_load.h"
#include "pipeline/golden_run.h"
#include "pipeline/moving.h"
#include "support/checked_device.h"
#include "support/temp_folder.h"

using namespace nightreel;
using pipeline::Pipeline;
using test::GoldenRun;
using test::kLong;

namespace {

constexpr std::int64_t kBuffer = 20'000;  // several turns for the larger tensors

// How a checkpoint is read, and held.
struct Read {
  const char* name;
  const char* run = "pipeline";
  bool original = false;       // read from the published layout: .pth beside safetensors
  bool stored_in_fp8 = false;  // read from a copy whose matrices are stored in fp8
  bool held_in_fp8 = false;    // and, or, kept in it
  bool sharded = false;        // the transformers' blocks dealt out over both ranks
};

std::string original_folder(const std::string& name) {
  const char* binary = std::getenv("NIGHTREEL_BINARY_DIR");
  REQUIRE(binary != nullptr);
  return std::string(binary) + "/originals/" + name;
}

/// The folder that the case is read from; `work` holds what is made for it.
std::string folder_of(const Read& c, const test::TempFolder& work) {
  if (c.original) return original_folder(c.name);
  const std::string stored = test::golden_path(std::string(c.name) + "/model");
  if (!c.stored_in_fp8) return stored;
  weights::ConvertOptions options;
  options.from = stored;
  options.to = work / c.name;
  options.precision = weights::Precision::fp8;
  weights::convert_checkpoint(options, model::lists_of(stored));
  return options.to;
}

/// A video, and the bytes that its weights take on the device.
struct Made {
  at::Tensor embeds, latents, frames;
  std::size_t weights = 0;
};

Made make(Pipeline& pipeline, const Read& c, std::size_t weights) {
  GoldenRun golden(c.name, c.run);
  pipeline::LoraFiles files;
  pipeline.use_loras(pipeline::open_loras(golden.settings.loras, files));
  Made made;
  made.weights = weights;
  made.embeds = pipeline.encode_prompt({5, 17, 99, 3, 1}).embeds_1TE.cpu();
  const auto image = pipeline.encode_pictures(golden.settings, golden.pictures());
  made.latents = pipeline.denoise({golden.settings, golden.prompt(), golden.negative(), image}).latents_CFYX;
  made.frames = test::decoded(pipeline, made.latents);
  return made;
}

pipeline::PipelineOptions options_for(const Read& c, const comm::Communicator& group) {
  pipeline::PipelineOptions options;
  options.device = test::checked_device();
  options.fp8 = c.held_in_fp8;
  if (c.sharded) options.shard = {group.rank(), group.size()};
  return options;
}

std::unique_ptr<comm::Communicator> part_of(comm::Communicator& group) {
  return std::make_unique<test::HostCopies>(group.split(0));
}

Made made_alone(const std::string& folder, const Read& c, comm::Communicator& group) {
  const std::size_t before = test::checked_device_bytes();
  Pipeline pipeline = Pipeline::load(card::read(folder), options_for(c, group));
  const std::size_t weights = test::checked_device_bytes() - before;
  if (c.sharded) pipeline.share(part_of(group));
  Made made = make(pipeline, c, weights);
  pipeline.share(nullptr);
  return made;
}

Made made_together(const std::string& folder, const Read& c, comm::Communicator& group, std::string& digest) {
  const std::size_t before = test::checked_device_bytes();
  pipeline::PipelineOptions options = options_for(c, group);
  const auto load = [&] {
    const auto readers = part_of(group);
    weights::SharedLoad together(*readers, options.device, model::lists_of(folder), kBuffer);
    options.reader = &together;
    Pipeline pipeline = Pipeline::load(card::read(folder), options);
    digest = together.digest(folder);
    readers->finalize();
    return pipeline;
  };
  Pipeline pipeline = load();
  const std::size_t weights = test::checked_device_bytes() - before;
  if (c.sharded) pipeline.share(part_of(group));
  Made made = make(pipeline, c, weights);
  pipeline.share(nullptr);
  return made;
}

/// What differs between the two ways, as text; what is thrown ends the member with its words.
std::string differing(const std::string& folder, const Read& c, comm::Communicator& group) {
  const Made alone = made_alone(folder, c, group);
  std::string digest;
  const Made together = made_together(folder, c, group, digest);
  group.finalize();
  std::string wrong;
  if (!at::equal(together.embeds, alone.embeds)) wrong += "embeds; ";
  if (!at::equal(together.latents, alone.latents)) wrong += "latents; ";
  if (!at::equal(together.frames, alone.frames)) wrong += "frames; ";
  if (digest != model::model_digest(folder)) wrong += "digest; ";
  if (together.weights != alone.weights) {
    wrong += std::to_string(together.weights) + " bytes on the device, not " + std::to_string(alone.weights) + "; ";
  }
  return wrong + "end";
}

}  // namespace

TEST_CASE("what ranks read together on a device makes the videos of what one reads alone, and takes no more of it") {
  for (const Read& c :
       {Read{"experts", "run_four"}, Read{"experts", "run_lora_four"}, Read{"experts", "run_four", false, true},
        Read{"experts", "run_lora_four", false, true, true}, Read{"experts", "run_four", false, false, true},
        Read{"experts", "run_lora_four", false, false, false, true}, Read{"clip"}, Read{"clip", "pipeline", true},
        Read{"first_last", "pipeline", true}, Read{"ti2v", "run_image_dpm"}, Read{"i2v", "run_four", true}}) {
    CAPTURE(c.name);
    CAPTURE(c.run);
    CAPTURE(c.original);
    CAPTURE(c.stored_in_fp8);
    CAPTURE(c.held_in_fp8);
    CAPTURE(c.sharded);
    const test::TempFolder work;
    const std::string folder = folder_of(c, work);
    for (const std::string& outcome :
         test::in_group(2, kLong, [&](comm::Communicator& group) { return differing(folder, c, group); })) {
      CHECK(outcome == "end");
    }
  }
}
