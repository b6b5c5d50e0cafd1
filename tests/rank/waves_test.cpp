#include <doctest/doctest.h>

#include "nightreel/memory/plan.h"
#include "rank/night.h"
#include "support/error.h"

using namespace nightreel;
using namespace nightreel::test;
using queue::JobState;

namespace {

constexpr std::uint64_t kGB = 1000000000;

/// A device that holds one of two experts at a time.
memory::DeviceMemory room_for_one_expert() {
  memory::DeviceMemory memory;
  memory.model.gpu = false;
  card::TransformerConfig& transformer = memory.model.transformer.emplace();
  transformer.num_layers = 1;
  transformer.num_attention_heads = 1;
  transformer.attention_head_dim = 8;
  transformer.ffn_dim = 16;
  memory.model.weights = {0, 0, 10 * kGB, 10 * kGB, 0};
  memory.bytes = 15 * kGB;
  return memory;
}

}  // namespace

TEST_CASE_FIXTURE(Night, "where experts take turns a rank holds a wave of jobs, each with its lease") {
  for (const char* id : {"a", "b", "c", "d", "e", "f"}) add(id, "wave=4 wait=2");
  Rank one = rank();
  one.memory = room_for_one_expert();
  CHECK(one.drain().error == "");  // the renderer begins once it has four
  for (const char* id : {"a", "b", "c", "d", "e", "f"}) check_done(id, 1);
  CHECK(litter() == 0);
}

TEST_CASE_FIXTURE(Night, "of a wave whose renderer dies the job that was denoising is charged, and no other") {
  // The second half of `killer` comes when `before` has left its last step behind and `after` waits for its own.
  add("before", "wave=3 wait=2 at=encode:0 do=hang");
  add("killer", "wave=3 wait=2 at=denoise:3 do=kill after=before.1");
  add("after", "wave=3 wait=2");
  Rank one = rank();
  one.memory = room_for_one_expert();
  CHECK(one.drain().error == "");
  check_done("before", 1);
  check_done("killer", 2);
  check_done("after", 1);
  CHECK(field("before", "alone") == "1");
  CHECK(field("killer", "alone") == "");
  CHECK(field("after", "alone") == "1");
  CHECK(litter() == 0);
}

TEST_CASE_FIXTURE(Night, "what a job waits for the others of its wave is not held against its timeout_s") {
  bool spared = false;
  for (int tries = 0; tries < 5 && !spared; ++tries) {  // on a busy machine its own work may take as long
    const std::string slow = "slow" + std::to_string(tries);
    const std::string quick = "quick" + std::to_string(tries);
    add(slow, "wave=2 wait=2 step_ms=700");
    add(quick, "wave=2 wait=2", {{"timeout_s", 1}, {"max_attempts", 1}});
    Rank one = rank();
    one.memory = room_for_one_expert();
    CHECK(one.drain().error == "");
    check_done(slow, 1);
    spared = view(quick).state == JobState::done;
    std::filesystem::remove(folder / "wave.1");  // the next ones are a wave, too
  }
  CHECK(spared);
}

TEST_CASE_FIXTURE(Night, "a job that does not fit the renderer's device fails for good, and the others are done") {
  add("small", "a circle");
  add("large", "a circle", {{"height", 64}, {"width", 64}, {"num_frames", 17}});
  Rank one = rank();
  one.memory = room_for_one_expert();
  one.memory.model.weights = {};
  settings::Settings settings;
  settings.height = settings.width = 16;
  settings.num_frames = 5;
  one.memory.bytes = memory::plan_memory(one.memory.model, settings, 0).peak().bytes();
  CHECK(one.drain().error == "");
  check_done("small", 1);
  CHECK(view("large").state == JobState::failed);
  CHECK(view("large").attempts == 1);
  CHECK(contains(view("large").error, "memory: 64x64, 17 frames need at least "));
}
