#include "nightreel/memory/plan.h"
#include "nightreel/memory/modules.h"
#include "nightreel/memory/text.h"

#include <doctest/doctest.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "support/error.h"

using namespace nightreel;
using memory::DeviceMemory;
using memory::MemoryModel;
using memory::MemoryPlan;
using memory::Part;
using settings::Settings;
using Experts = memory::MemoryPlan::Experts;

namespace {

constexpr std::uint64_t kGB = 1000000000;

card::TransformerConfig transformer_of(std::int64_t layers, std::int64_t heads, std::int64_t ffn,
                                       std::int64_t channels) {
  card::TransformerConfig t;
  t.num_layers = layers;
  t.num_attention_heads = heads;
  t.ffn_dim = ffn;
  t.in_channels = channels;
  t.out_channels = channels;
  return t;
}

/// Wan 2.2 T2V-A14B in bfloat16: 14.3 billion numbers an expert, 4.6 billion of UMT5 beside its embedding.
MemoryModel a14b() {
  MemoryModel m;
  m.transformer = transformer_of(40, 40, 13824, 16);
  m.text.emplace();
  m.text->d_model = 4096;
  m.text->d_ff = 10240;
  m.text->num_heads = 64;
  m.weights = {9260000000, 0, 28640000000, 28640000000, 508000000};
  m.host_weights = 2100000000;
  m.linear_weights = 40ULL * (8ULL * 5120 * 5120 + 2ULL * 5120 * 13824);
  m.block_weights = 28080000000;
  return m;
}

MemoryModel ti2v_5b() {
  MemoryModel m = a14b();
  m.transformer = transformer_of(30, 24, 14336, 48);
  m.vae.base_dim = 160;
  m.vae.decoder_base_dim = 256;
  m.vae.z_dim = 48;
  m.vae.latents_mean.assign(48, 0.0);
  m.vae.latents_std.assign(48, 1.0);
  m.vae.scale_factor_spatial = 16;
  m.vae.patch_size = 2;
  m.vae.is_residual = true;
  m.weights = {9260000000, 0, 10000000000, 0, 2820000000};
  m.linear_weights = 30ULL * (8ULL * 3072 * 3072 + 2ULL * 3072 * 14336);
  return m;
}

Settings video(std::int64_t height, std::int64_t width, std::int64_t frames) {
  Settings s;
  s.height = height;
  s.width = width;
  s.num_frames = frames;
  return s;
}

bool has(const std::vector<std::string>& lines, const std::string& part) {
  for (const auto& line : lines) {
    if (line.find(part) != std::string::npos) return true;
  }
  return false;
}

}  // namespace

TEST_CASE("fp8 narrows the matrices of the blocks, and each layer is brought back while it is multiplied") {
  MemoryModel wide = a14b();
  wide.linear_rows = 40ULL * (9ULL * 5120 + 13824);
  const MemoryModel narrow = memory::in_fp8(wide);
  for (const Part part : {Part::transformer, Part::transformer_2}) {
    CHECK(narrow.of(part) == wide.of(part) - wide.linear_weights + 4 * wide.linear_rows);
  }
  CHECK(narrow.of(Part::vae) == wide.of(Part::vae));
  CHECK(narrow.unpacked == 3ULL * 5120 * 5120 * (4 + 2));  // queries, keys and values in float32, then in bfloat16
  const Settings settings = video(480, 832, 81);
  const auto blocks = [&](const MemoryModel& model) { return memory::activations_of(model, settings, {}).blocks; };
  CHECK(blocks(narrow) == blocks(wide) + narrow.unpacked);
  const MemoryModel told = memory::memory_model_from_json(memory::to_json(narrow));
  CHECK(told.unpacked == narrow.unpacked);
  wide.fp8_products = true;  // its input is rounded piece by piece instead
  CHECK(memory::in_fp8(wide).unpacked < narrow.unpacked / 2);
  CHECK(memory::memory_model_from_json(memory::to_json(wide)).fp8_products);
  CHECK(memory::memory_model_from_json(memory::to_json(wide)).linear_rows == wide.linear_rows);
}

TEST_CASE("of blocks in shards a rank holds its share and two that are gathered") {
  const MemoryModel whole = a14b();
  const Settings settings = video(480, 832, 81);
  const auto blocks = [&](const MemoryModel& model) { return memory::activations_of(model, settings, {}).blocks; };
  for (const int ranks : {2, 3, 4, 8}) {
    CAPTURE(ranks);
    const MemoryModel share = memory::in_shards(whole, ranks);
    for (const Part part : {Part::transformer, Part::transformer_2}) {
      const std::uint64_t held = whole.of(part) - whole.block_weights + whole.block_weights / ranks;
      CHECK(share.of(part) >= held);
      CHECK(share.of(part) <= held + 1);
    }
    CHECK(share.of(Part::text_encoder) == whole.of(Part::text_encoder));
    const std::uint64_t two_blocks = 2 * whole.block_weights / 40;
    CHECK(share.gathered() >= two_blocks);
    CHECK(share.gathered() <= two_blocks + 1);
    CHECK(blocks(share) == blocks(whole) + share.gathered());
    const MemoryModel told = memory::memory_model_from_json(memory::to_json(share));
    CHECK(told.gathered() == share.gathered());
    CHECK(told.shards == ranks);
    const MemoryModel narrow = memory::in_fp8(share);
    const MemoryModel expected = memory::in_shards(memory::in_fp8(whole), ranks);
    CHECK(narrow.of(Part::transformer) <= expected.of(Part::transformer) + 2);
    CHECK(narrow.of(Part::transformer) + 2 >= expected.of(Part::transformer));
    CHECK(narrow.gathered() <= expected.gathered() + 2);
  }
  CHECK(whole.gathered() == 0);
  CHECK(memory::to_json(memory::in_shards(whole, 1)) == memory::to_json(whole));
}

TEST_CASE("a model that is too large for a GPU fits where a group holds it in shards, and each expert stays") {
  const Settings settings = video(480, 832, 81);
  const DeviceMemory whole{a14b(), 32 * kGB};
  CHECK(test::thrown_by([&] { memory::fitting_plan(whole, settings); }).kind == base::ErrorKind::job);
  const MemoryModel share = memory::in_shards(a14b(), 8);
  const MemoryPlan plan = memory::fitting_plan({share, 32 * kGB}, settings);
  CHECK(plan.fits);
  CHECK(memory::plan_memory(a14b(), settings, 48 * kGB).experts == Experts::take_turns);
  CHECK(memory::plan_memory(share, settings, 48 * kGB).experts == Experts::stay);
  const auto lines = memory::describe(share, plan, settings);
  CHECK(has(lines, "of blocks, from 8 ranks' shards, while it denoises"));
}

TEST_CASE("what does not fit leaves in this order: encoders, experts, whole pictures") {
  struct Case {
    MemoryModel model;
    Settings settings;
    std::uint64_t memory;
    bool encoders_leave;
    Experts experts;
    bool tiled;
    bool fits;
  };
  const Settings small = video(480, 832, 81);
  const Settings large = video(720, 1280, 81);
  for (const Case& c : {Case{a14b(), large, 0, false, Experts::stay, false, true},
                        Case{a14b(), large, 141 * kGB, false, Experts::stay, false, true},
                        Case{a14b(), small, 80 * kGB, false, Experts::stay, false, true},
                        Case{a14b(), large, 80 * kGB, true, Experts::stay, false, true},
                        Case{a14b(), small, 48 * kGB, true, Experts::take_turns, false, true},
                        Case{a14b(), large, 48 * kGB, true, Experts::leave, false, true},
                        Case{a14b(), small, 24 * kGB, true, Experts::leave, true, false},
                        Case{ti2v_5b(), video(704, 1280, 121), 80 * kGB, false, Experts::stay, false, true},
                        Case{ti2v_5b(), video(704, 1280, 121), 48 * kGB, false, Experts::stay, false, true},
                        Case{ti2v_5b(), video(704, 1280, 121), 24 * kGB, true, Experts::stay, true, true}}) {
    const MemoryPlan plan = memory::plan_memory(c.model, c.settings, c.memory);
    CAPTURE(memory::summary(plan, c.settings));
    CHECK(plan.fits == c.fits);
    if (!c.fits) continue;
    CHECK(plan.encoders_leave == c.encoders_leave);
    CHECK((plan.experts == c.experts));
    CHECK(plan.tiled.decode == c.tiled);
    if (c.memory > 0) CHECK(plan.peak().bytes() <= c.memory);
  }
}

TEST_CASE("a plan's peak never falls when more is asked, and more memory never moves more") {
  for (const MemoryModel& model : {a14b(), ti2v_5b()}) {
    std::uint64_t moved = std::numeric_limits<std::uint64_t>::max();
    for (std::uint64_t memory = 44 * kGB; memory <= 200 * kGB; memory += 2 * kGB) {
      const MemoryPlan plan = memory::plan_memory(model, video(704, 1280, 81), memory);
      REQUIRE(plan.fits);
      CHECK(plan.peak().bytes() <= plan.usable);
      if (!plan.tiled.decode) {
        CHECK(plan.moved <= moved);
        moved = plan.moved;
      }
    }
    CHECK(moved == 0);
    const auto denoise = [&](const Settings& s) { return memory::activations_of(model, s, {}).denoise(); };
    CHECK(denoise(video(704, 1280, 81)) > denoise(video(704, 1280, 77)));
    CHECK(denoise(video(704, 1280, 81)) > denoise(video(704, 1248, 81)));
    const auto decode = [&](const Settings& s, bool tiled) { return memory::vae_decoder_bytes(model, s, tiled); };
    CHECK(decode(video(704, 1280, 81), false) > 4 * decode(video(704, 1280, 81), true));
    CHECK(decode(video(704, 1280, 81), true) == decode(video(1024, 1280, 121), true));  // a tile is a tile
    CHECK(decode(video(704, 1280, 81), false) > decode(video(704, 1280, 1), false));
  }
}

TEST_CASE("weights that leave are counted on the host, and only what is needed on the GPU") {
  const MemoryModel model = a14b();
  const MemoryPlan plan = memory::plan_memory(model, video(720, 1280, 81), 48 * kGB);
  CHECK_FALSE(plan.stays(Part::text_encoder));
  CHECK_FALSE(plan.stays(Part::transformer_2));
  CHECK(plan.stays(Part::vae));
  CHECK(plan.host == model.host_weights + model.of(Part::text_encoder) + 2 * model.of(Part::transformer));
  REQUIRE(plan.stages.size() == 3);
  CHECK(plan.stages[0].weights == model.of(Part::text_encoder) + model.of(Part::vae));
  CHECK(plan.stages[1].weights == model.of(Part::transformer) + model.of(Part::vae));
  CHECK(plan.stages[2].weights == model.of(Part::vae));
}

TEST_CASE("experts that take turns are worth a wave, others are not") {
  const Settings s = video(480, 832, 81);
  CHECK(memory::plan_memory(a14b(), s, 48 * kGB).wave() == memory::kWave);
  CHECK(memory::plan_memory(a14b(), s, 80 * kGB).wave() == 1);
  CHECK(memory::plan_memory(ti2v_5b(), video(704, 1280, 121), 24 * kGB).wave() == 1);
}

TEST_CASE("a job that fits in no way is an error that says what would, and that does fit") {
  const Settings asked = video(720, 1280, 81);
  CHECK(memory::fitting_plan({a14b(), 80 * kGB}, asked).fits);
  CHECK(memory::fitting_plan({a14b(), 0}, asked).fits);
  const auto thrown = test::thrown_by([&] { memory::fitting_plan({a14b(), 32 * kGB}, asked); });
  CHECK(thrown.kind == base::ErrorKind::job);
  for (const char* part :
       {"memory: 720x1280, 81 frames need at least ", "of 32.0 GB", "what would fit: ", "--dtype fp8"}) {
    CAPTURE(thrown.message);
    CHECK(test::contains(thrown.message, part));
  }
  const auto fits = [](std::int64_t frames) {
    return memory::plan_memory(a14b(), video(720, 1280, frames), 36 * kGB).fits;
  };
  std::int64_t most = 1;
  while (fits(most + 4)) most += 4;
  CHECK(most > 1);
  CHECK(has(memory::what_would_fit(a14b(), asked, 36 * kGB), "720x1280, " + std::to_string(most) + " frames"));
  const auto hopeless = test::thrown_by([&] { memory::fitting_plan({a14b(), 2 * kGB}, asked); });
  CHECK(test::contains(hopeless.message, "no size of this model's videos fits"));
}

TEST_CASE("a picture costs its encoding, in tiles where the whole does not fit") {
  MemoryModel model = a14b();
  model.transformer->in_channels = 36;
  Settings s = video(720, 1280, 81);
  CHECK(memory::activations_of(model, s, {}).picture == 0);
  s.image = "/a.png";
  const auto whole = memory::activations_of(model, s, {}).picture;
  CHECK(whole > 4 * memory::activations_of(model, s, {true, false}).picture);
  const MemoryPlan plan = memory::plan_memory(model, s, 80 * kGB);
  CHECK(plan.fits);
  CHECK(plan.stages[1].name == "picture");
}

TEST_CASE("a plan counts what the allocator takes beside the activations, which is more where it cannot join blocks") {
  MemoryModel model = a14b();
  const Settings s = video(480, 832, 81);
  const std::uint64_t needed = memory::activations_of(model, s, {}).decode;
  const auto taken = [&](memory::Allocator allocator) {
    model.allocator = allocator;
    return memory::plan_memory(model, s, 0).stages.back().activations;
  };
  CHECK(taken(memory::Allocator::exact) == needed);
  CHECK(taken(memory::Allocator::expandable) >= needed + needed / 8);
  CHECK(taken(memory::Allocator::blocks) >= needed + needed * 45 / 100);
  for (const auto allocator : {memory::Allocator::exact, memory::Allocator::expandable, memory::Allocator::blocks}) {
    model.allocator = allocator;
    CHECK((memory::memory_model_from_json(memory::to_json(model)).allocator == allocator));
  }
}

TEST_CASE("a decoder's convolutions keep two frames each and share one window") {
  MemoryModel model = a14b();
  const auto decode = [&](std::int64_t height, std::int64_t width) {
    return memory::vae_decoder_bytes(model, video(height, width, 81), false);
  };
  CHECK(decode(480, 832) < 7'300'000'000);  // with a window for each it was 12.97 and 29.93 GB
  CHECK(decode(720, 1280) < 17'000'000'000);
  model = ti2v_5b();
  CHECK(memory::vae_decoder_bytes(model, video(704, 1280, 121), false) < 16'000'000'000);  // 24.47 GB
}

TEST_CASE("ranks that render one video need less each, but not where it is coded in tiles") {
  MemoryModel model = a14b();
  model.transformer->in_channels = 36;
  Settings s = video(720, 1280, 81);
  s.image = "/a.png";
  const memory::Activations alone = memory::activations_of(model, s, {});
  memory::Activations before = alone;
  for (const std::int64_t group : {2, 4, 8}) {
    CAPTURE(group);
    model.group = group;
    const auto need = memory::activations_of(model, s, {});
    CHECK(need.decode < before.decode);
    CHECK(need.picture < before.picture);
    CHECK(
        (group == 2 ? need.denoise() == alone.denoise() : need.denoise() < before.denoise()));  // a prompt each, first
    CHECK(memory::vae_decoder_bytes(model, s, true) == memory::vae_decoder_bytes(a14b(), s, true));
    before = need;
  }
  CHECK(memory::memory_model_from_json(memory::to_json(model)).group == 8);
  s.guidance_scale = 1;
  model.group = 2;
  CHECK(memory::activations_of(model, s, {}).denoise() < alone.denoise());
}

TEST_CASE("after a plan that ran out of memory comes the next one that needs less there") {
  const Settings s = video(480, 832, 81);
  DeviceMemory memory{a14b(), 90 * kGB};
  const MemoryPlan first = memory::fitting_plan(memory, s);
  CHECK((first.experts == Experts::stay));
  CHECK_FALSE(first.encoders_leave);
  MemoryPlan plan = first;
  std::vector<std::uint64_t> moved{plan.moved};
  for (int times = 0; times < 3; ++times) {
    memory.failed["decode"] = plan.bytes_at("decode");
    const auto next = memory::next_plan(memory, s, plan);
    REQUIRE(next);
    CHECK(next->fits);
    CHECK(next->bytes_at("decode") < plan.bytes_at("decode"));
    CHECK(next->moved >= moved.back());
    CHECK(memory::fitting_plan(memory, s).bytes_at("decode") == next->bytes_at("decode"));  // other videos' too
    plan = *next;
    moved.push_back(plan.moved);
  }
  CHECK(memory::fitting_plan({a14b(), 90 * kGB}, s).bytes_at("decode") == first.bytes_at("decode"));
  memory.failed["decode"] = 1;
  CHECK_FALSE(memory::next_plan(memory, s, plan));
  memory.failed = {{"text", 1}};
  CHECK(test::thrown_by([&] { memory::fitting_plan(memory, s); }).kind == base::ErrorKind::job);
}

TEST_CASE("a plan for a video that has begun does not tile the encoder") {
  MemoryModel model = a14b();
  model.weights = {};  // what leaves makes no room
  model.allocator = memory::Allocator::exact;
  model.transformer->in_channels = 36;
  Settings s = video(480, 832, 81);
  s.image = "/a.png";
  DeviceMemory memory{model, 0};
  MemoryPlan whole = memory::plan_memory(memory, s);
  CHECK_FALSE(whole.tiled.encode);
  memory.failed["picture"] = memory::activations_of(model, s, {}).picture / 2;
  CHECK(memory::plan_memory(memory, s).tiled.encode);
  CHECK_FALSE(memory::next_plan(memory, s, whole));
  whole.tiled.encode = true;
  CHECK(memory::next_plan(memory, s, whole));
}

TEST_CASE("weights that move want memory of the host, and a host that has too little is named") {
  const Settings s = video(480, 832, 81);
  DeviceMemory memory{a14b(), 60 * kGB};
  const MemoryPlan roomy = memory::fitting_plan(memory, s);
  CHECK(roomy.moving > 20 * kGB);
  CHECK(roomy.host == roomy.moving + a14b().host_weights);
  memory.host_bytes = roomy.moving;
  CHECK(memory::fitting_plan(memory, s).fits);
  memory.host_bytes = 5 * kGB;
  const auto thrown = test::thrown_by([&] { memory::fitting_plan(memory, s); });
  CHECK(test::contains(thrown.message, "host's memory, which has 5.0 GB"));
  CHECK(test::contains(thrown.message, "fewer ranks on the host"));
  memory.bytes = 0;  // nothing moves
  CHECK(memory::fitting_plan(memory, s).fits);
  CHECK(memory::to_json(memory::device_memory_from_json(memory::to_json(memory))) == memory::to_json(memory));
}

TEST_CASE("on a CPU a video that the host can never hold is refused, and no other plan is made of it") {
  const Settings s = video(480, 832, 81);
  MemoryModel model = a14b();
  model.gpu = false;
  model.allocator = memory::Allocator::exact;
  const DeviceMemory boundless{model, 0};
  const MemoryPlan plan = memory::fitting_plan(boundless, s);
  DeviceMemory memory{model, 0, {}, plan.peak().bytes()};
  CHECK(memory::to_json(memory::fitting_plan(memory, s)) == memory::to_json(plan));
  memory.host_bytes -= 1;
  const auto thrown = test::thrown_by([&] { memory::fitting_plan(memory, s); });
  CHECK((thrown.kind == base::ErrorKind::job));
  CHECK(test::contains(thrown.message, "memory: "));
  CHECK(test::contains(thrown.message, "this host has"));
}

TEST_CASE("bytes by stage go through text, and other text is refused") {
  const memory::StageBytes bytes{{"decode", 75'000'000'000}, {"denoise", 1}};
  CHECK(memory::to_text(bytes) == "decode=75000000000,denoise=1");
  CHECK((memory::stage_bytes(memory::to_text(bytes)) == bytes));
  CHECK(memory::stage_bytes("").empty());
  for (const char* bad : {"decode", "decode=", "=5", "decode=-1", "decode=5x", "decode=99999999999999999999"}) {
    CAPTURE(bad);
    CHECK(test::thrown_by([&] { memory::stage_bytes(bad); }).kind == base::ErrorKind::usage);
  }
}

TEST_CASE("a CPU has no reserve, and may take both prompts at once and keep their keys") {
  MemoryModel model = a14b();
  const Settings s = video(480, 832, 81);
  const auto one = memory::activations_of(model, s, {});
  model.gpu = false;
  model.allocator = memory::Allocator::exact;
  model.both_prompts = true;
  model.keep_keys = true;
  const auto two = memory::activations_of(model, s, {});
  CHECK(two.blocks > 2 * one.blocks - one.blocks / 10);
  CHECK(one.keys == 0);
  CHECK(two.keys == 2ULL * 40 * 2 * 512 * 5120 * 2);
  CHECK(memory::plan_memory(model, s, 100 * kGB).usable == 100 * kGB);
  CHECK(memory::plan_memory(a14b(), s, 100 * kGB).usable < 98 * kGB);
}

TEST_CASE("a model goes through JSON unchanged, and JSON that is none is refused") {
  const MemoryModel model = ti2v_5b();
  const auto json = memory::to_json(model);
  CHECK(memory::to_json(memory::memory_model_from_json(json)) == json);
  const memory::DeviceMemory device{model, 24 * kGB};
  CHECK(memory::to_json(memory::device_memory_from_json(memory::to_json(device))) == memory::to_json(device));
  CHECK(memory::device_memory_from_json(nullptr).bytes == 0);
  for (const nlohmann::json& bad : {nlohmann::json("24GB"), nlohmann::json{{"bytes", 1}},
                                    nlohmann::json{{"model", json}}, nlohmann::json{{"model", json}, {"bytes", -1}}}) {
    CHECK(test::thrown_by([&] { memory::device_memory_from_json(bad); }).kind == base::ErrorKind::internal);
  }
  struct Case {
    const char* field;
    nlohmann::json value;
  };
  for (const Case& c : {Case{"/vae/scale_factor_spatial", 0}, Case{"/vae/dim_mult", nlohmann::json::array()},
                        Case{"/weights", "much"}, Case{"/transformer/patch_size", {1, 0, 2}}, Case{"/text", "x"}}) {
    CAPTURE(c.field);
    auto bad = json;
    bad[nlohmann::json::json_pointer(c.field)] = c.value;
    CHECK(test::thrown_by([&] { memory::memory_model_from_json(bad); }).kind == base::ErrorKind::internal);
  }
}

TEST_CASE("people are told what lives where") {
  const MemoryModel model = a14b();
  const Settings s = video(480, 832, 81);
  const auto lines = memory::describe(model, memory::plan_memory(model, s, 48 * kGB), s);
  for (const char* part :
       {"fits: 480x832, 81 frames need", "of 48.0 GB", "leaves the GPU once the prompts are encoded",
        "takes turns with the other expert, once for up to 4 videos", "stays on the host", "decode", "on the host"}) {
    CAPTURE(part);
    CHECK(has(lines, part));
  }
  CHECK(memory::human_bytes(23500000000) == "23.5 GB");
  CHECK(memory::human_bytes(1500) == "1.5 kB");
}
