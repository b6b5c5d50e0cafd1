#include "nightreel/job/resolve.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "card/checkpoint_folder.h"
#include "nightreel/job/job_file.h"
#include "nightreel/job/lora_set.h"
#include "nightreel/job/recipe.h"
#include "nightreel/settings/json.h"
#include "support/error.h"

namespace nightreel::job {
namespace {

using base::ErrorKind;
using settings::Settings;
using settings::settings_from_json;
using test::card_of;
using test::CheckpointFiles;
using test::contains;
using test::TempFolder;
using test::thrown_by;

Settings settings_of(const std::string& job, const CheckpointFiles& files,
                     RecipeChoice choice = RecipeChoice::automatic) {
  const card::Card card = card_of(files);
  return resolve(parse_job(job, {}), card, recipe_for(card, choice));
}

const char* const kJob = R"({"prompt": "p"})";

/// The steps that the high-noise expert takes: Wan's schedule (fm_solvers_unipc.py), t >= boundary·1000.
int high_noise_steps(const Settings& s) {
  int steps = 0;
  for (std::int64_t i = 0; i < s.num_inference_steps; ++i) {
    const double sigma = 0.999 * (1 - static_cast<double>(i) / static_cast<double>(s.num_inference_steps));
    const double shifted = s.flow_shift * sigma / (1 + (s.flow_shift - 1) * sigma);
    steps += std::floor(shifted * 1000) >= s.boundary_ratio.value() * 1000 ? 1 : 0;
  }
  return steps;
}

TEST_CASE("the official recipe has the published settings") {
  const Settings t2v = settings_of(kJob, test::t2v_a14b());
  CHECK(t2v.width == 1280);
  CHECK(t2v.height == 720);
  CHECK(t2v.num_frames == 81);
  CHECK(t2v.fps == 16);
  CHECK(t2v.num_inference_steps == 40);
  CHECK(t2v.guidance_scale == 4.0);    // high noise: diffusers' order, not Wan's
  CHECK(t2v.guidance_scale_2 == 3.0);  // low noise
  CHECK(t2v.flow_shift == 12.0);
  CHECK(t2v.boundary_ratio == 0.875);
  CHECK(t2v.sampler == "unipc");
  CHECK(t2v.negative_prompt.rfind("色调艳丽，过曝，静态", 0) == 0);
  CHECK(contains(t2v.negative_prompt, "三条腿，背景人很多，倒着走"));

  const auto official = [](const CheckpointFiles& files) {
    return recipe_for(card_of(files), RecipeChoice::automatic).defaults;
  };
  CHECK(official(test::i2v_a14b()).flow_shift == 5.0);
  CHECK(official(test::i2v_a14b()).boundary_ratio == 0.9);
  CHECK(official(test::i2v_a14b()).guidance_scale == 3.5);
  CHECK(official(test::ti2v_5b()).fps == 24);
  CHECK(official(test::ti2v_5b()).num_frames == 121);
  CHECK(official(test::ti2v_5b()).height == 704);
  CHECK(official(test::small_t2v()).height == 480);
  CHECK(official(test::wan21_14b(36, 0)).negative_prompt.rfind("镜头晃动，色调艳丽", 0) == 0);
}

TEST_CASE("Wan 2.1 I2V shifts by 3 at 480p, as its generate.py does, unless the job says otherwise") {
  const auto shift = [](const std::string& fields) {
    return settings_of(R"({"prompt": "p", "image": "/etc/hostname")" + fields + "}", test::wan21_14b(36, 0)).flow_shift;
  };
  CHECK(shift("") == 5.0);
  CHECK(shift(R"(, "height": 480, "width": 832)") == 3.0);
  CHECK(shift(R"(, "height": 832, "width": 480)") == 3.0);
  CHECK(shift(R"(, "height": 480, "width": 480)") == 5.0);
  CHECK(shift(R"(, "height": 480, "width": 832, "flow_shift": 7)") == 7.0);
}

TEST_CASE("the conversion's flow_shift of 3 does not win over the published 12") {
  const Settings official = settings_of(kJob, test::t2v_a14b());
  CHECK(high_noise_steps(official) == 26);
  CHECK(high_noise_steps(recipe_for(card_of(test::i2v_a14b()), RecipeChoice::automatic).defaults) == 15);
  Settings trapped = official;
  trapped.flow_shift = 3.0;
  CHECK(high_noise_steps(trapped) == 12);
  const Recipe recipe = recipe_for(card_of(test::t2v_a14b()), RecipeChoice::automatic);
  CHECK(recipe.name == "official");
  CHECK(contains(recipe.note, "scheduler_config.json says flow_shift 3, published is 12"));
  CHECK(contains(recipe_for(card_of(test::i2v_a14b()), RecipeChoice::automatic).note, "flow_shift 3 at 480p"));

  CHECK(settings_of(kJob, test::t2v_a14b(), RecipeChoice::checkpoint).flow_shift == 3.0);
  CHECK(settings_of(R"({"prompt": "p", "flow_shift": 7})", test::t2v_a14b()).flow_shift == 7.0);
}

TEST_CASE("the checkpoint recipe takes scheduler and index, nightreel.json, then diffusers' defaults") {
  CheckpointFiles files = test::t2v_a14b();
  Settings s = settings_of(kJob, files, RecipeChoice::checkpoint);
  CHECK(s.height == 480);
  CHECK(s.width == 832);
  CHECK(s.num_frames == 81);
  CHECK(s.num_inference_steps == 50);
  CHECK(s.guidance_scale == 5.0);
  CHECK(s.guidance_scale_2 == 5.0);  // as diffusers: the other expert's
  CHECK(s.fps == 16);
  CHECK(s.negative_prompt.empty());
  CHECK(s.boundary_ratio == 0.875);

  files["nightreel.json"] = base::parse_json(R"({"height": 64, "width": 32, "num_frames": 17, "fps": 8,
      "num_inference_steps": 20, "guidance_scale": 3.0, "guidance_scale_2": 2.0, "negative_prompt": "blurred"})");
  s = settings_of(kJob, files, RecipeChoice::checkpoint);
  CHECK(s.height == 64);
  CHECK(s.width == 32);
  CHECK(s.num_frames == 17);
  CHECK(s.fps == 8);
  CHECK(s.num_inference_steps == 20);
  CHECK(s.guidance_scale == 3.0);
  CHECK(s.guidance_scale_2 == 2.0);
  CHECK(s.negative_prompt == "blurred");
  CHECK(settings_of(kJob, files, RecipeChoice::official).height == 720);
}

TEST_CASE("a model that nobody published has the checkpoint recipe, and no official one") {
  CheckpointFiles files = test::small_t2v();
  files["transformer/config.json"]["num_layers"] = 2;
  const card::Card card = card_of(files);
  CHECK(recipe_for(card, RecipeChoice::automatic).name == "checkpoint");
  const auto error = thrown_by([&] { recipe_for(card, RecipeChoice::official); });
  CHECK(error.kind == ErrorKind::model);
  CHECK(contains(error.message, "use --recipe checkpoint"));
}

TEST_CASE("--recipe is official, checkpoint or left out") {
  CHECK(recipe_choice("") == RecipeChoice::automatic);
  CHECK(recipe_choice("official") == RecipeChoice::official);
  CHECK(recipe_choice("checkpoint") == RecipeChoice::checkpoint);
  CHECK(thrown_by([] { recipe_choice("Official"); }).kind == ErrorKind::usage);
}

TEST_CASE("what the job says wins, and the seed is its own or the hash's") {
  const Settings s = settings_of(R"({"prompt": "p", "negative_prompt": "", "height": 480, "width": 832, "num_frames": 1,
      "fps": 30, "num_inference_steps": 7, "guidance_scale": 1, "guidance_scale_2": 2, "flow_shift": 3,
      "boundary_ratio": 0.5, "sampler": "unipc", "seed": 42})",
                                 test::t2v_a14b());
  CHECK(s.prompt == "p");
  CHECK(s.negative_prompt.empty());
  CHECK(s.height == 480);
  CHECK(s.width == 832);
  CHECK(s.num_frames == 1);
  CHECK(s.fps == 30);
  CHECK(s.num_inference_steps == 7);
  CHECK(s.guidance_scale == 1);
  CHECK(s.guidance_scale_2 == 2);
  CHECK(s.flow_shift == 3);
  CHECK(s.boundary_ratio == 0.5);
  CHECK(s.seed == 42);
  CHECK(settings_of(kJob, test::t2v_a14b()).seed == parse_job(kJob, {}).default_seed);
  // A job that names one of the two scales leaves the other to the recipe.
  CHECK(settings_of(R"({"prompt": "p", "guidance_scale": 7})", test::t2v_a14b()).guidance_scale_2 == 3.0);
  CHECK_FALSE(settings_of(kJob, test::small_t2v()).guidance_scale_2);
}

TEST_CASE("a misfit names the field and the nearest legal values") {
  struct Case {
    const char* fields;
    CheckpointFiles files;
    const char* message;
  };
  CheckpointFiles no_boundary = test::t2v_a14b();
  no_boundary["transformer/config.json"]["ffn_dim"] = 13000;
  no_boundary["transformer_2/config.json"]["ffn_dim"] = 13000;
  no_boundary["model_index.json"].erase("boundary_ratio");
  CheckpointFiles patches = test::small_t2v();
  patches["transformer/config.json"]["patch_size"] = base::parse_json("[2, 4, 1]");
  CheckpointFiles short_rope = test::small_t2v();
  short_rope["transformer/config.json"]["rope_max_seq_len"] = 32;
  for (const auto& c : {
           Case{R"("height": 50)", test::small_t2v(), "height: 50 is no multiple of 16; nearest: 48, 64"},
           Case{R"("height": 7)", test::small_t2v(), "height: 7 is no multiple of 16; nearest: 16"},
           Case{R"("width": 833)", test::small_t2v(), "width: 833 is no multiple of 16; nearest: 832, 848"},
           Case{R"("height": 720)", test::ti2v_5b(), "height: 720 is no multiple of 32; nearest: 704, 736"},
           Case{R"("height": 48)", patches, "height: 48 is no multiple of 32; nearest: 32, 64"},
           Case{R"("height": 64, "width": 60)", patches, "width: 60 is no multiple of 8; nearest: 56, 64"},
           Case{R"("num_frames": 80)", test::small_t2v(), "num_frames: 80 is not 4n+1; nearest: 77, 81"},
           Case{R"("num_frames": 2)", test::small_t2v(), "num_frames: 2 is not 4n+1; nearest: 1, 5"},
           Case{R"("height": 64, "num_frames": 9)", patches, "num_frames: 9 is not 8n+5; nearest: 5, 13"},
           Case{R"("height": 64, "num_frames": 1)", patches, "num_frames: 1 is not 8n+5; nearest: 5"},
           Case{R"("height": 512, "width": 528)", short_rope,
                "width: 528 is more than this model's rope_max_seq_len of 32 allows; at most 512"},
           Case{R"("height": 64, "width": 64, "num_frames": 129)", short_rope,
                "num_frames: 129 is more than this model's rope_max_seq_len of 32 allows; at most 125"},
           Case{R"("boundary_ratio": 0.9)", test::small_t2v(), "boundary_ratio: this model has one expert"},
           Case{R"("guidance_scale_2": 3)", test::small_t2v(), "guidance_scale_2: this model has one expert"},
           Case{R"("seed": 1)", no_boundary, "boundary_ratio: this model has two experts"},
           Case{R"("seed": 1)", test::i2v_a14b(), "image: is required by this image-to-video model"},
           Case{R"("image": "/dev/../etc/hostname")", test::small_t2v(), "image: this model makes videos from text"},
           Case{R"("image": "/etc/hostname")", test::wan21_14b(36, 514), "last_image: this model needs the first and"},
           Case{R"("image": "/etc/hostname", "last_image": "/etc/hostname")", test::wan21_14b(36, 0),
                "last_image: this model takes a first picture only"},
           Case{R"("image": "/etc/hostname", "last_image": "/etc/hostname")", test::ti2v_5b(),
                "last_image: this model"},
           Case{R"("loras": [{"path": "/etc/hostname"}, {"path": "/etc/hostname", "expert": "low"}])",
                test::small_t2v(), "loras: [1]: expert: low: this model has one expert"},
           Case{R"("image": "/etc/hostname", "last_image": "/etc/hostname", "num_frames": 1)", test::i2v_a14b(),
                "num_frames: 1 leaves no room"},
       }) {
    INFO(c.message);
    const auto error = thrown_by([&] { settings_of(std::string(R"({"prompt": "p", )") + c.fields + "}", c.files); });
    CHECK(error.kind == ErrorKind::job);
    CHECK_MESSAGE(error.message.rfind(c.message, 0) == 0, error.message);
  }
  CHECK(settings_of(R"({"prompt": "p", "height": 64, "num_frames": 13})", patches).num_frames == 13);
  CHECK(settings_of(R"({"prompt": "p", "height": 512, "width": 512, "num_frames": 125})", short_rope).width == 512);
}

TEST_CASE("all jobs of a file are judged before any of them is rendered") {
  const card::Card card = card_of(test::small_t2v());
  const Recipe recipe = recipe_for(card, RecipeChoice::automatic);
  std::vector<Job> jobs{parse_job(kJob, {}), parse_job(R"({"prompt": "p", "height": 50})", {}),
                        parse_job(R"({"prompt": "p", "num_frames": 80})", {})};
  for (std::size_t i = 0; i < jobs.size(); ++i) jobs[i].origin = "jobs.jsonl:" + std::to_string(i + 1);
  const auto error = thrown_by([&] { check_jobs(jobs, card, recipe); });
  CHECK(error.kind == ErrorKind::usage);
  CHECK(error.message ==
        "jobs.jsonl:2: height: 50 is no multiple of 16; nearest: 48, 64\n"
        "jobs.jsonl:3: num_frames: 80 is not 4n+1; nearest: 77, 81");
  check_jobs({jobs[0]}, card, recipe);
}

TEST_CASE("the lists for the models in the repository fit them") {
  const char* source = std::getenv("NIGHTREEL_SOURCE_DIR");
  REQUIRE(source != nullptr);
  for (const auto& [model, list] : {std::pair{"shapes", "demo"}, std::pair{"shapes-i2v", "shapes_i2v"}}) {
    CAPTURE(list);
    const card::Card card = card::read(std::string(source) + "/models/" + model);
    const auto jobs = read_job_files({std::string(source) + "/jobs/" + list + ".jsonl"});
    CHECK(jobs.size() >= 4);
    CHECK_NOTHROW(check_jobs(jobs, card, recipe_for(card, RecipeChoice::automatic)));
  }
}

TEST_CASE("what models/shapes-i2v makes begins with a picture") {
  const char* source = std::getenv("NIGHTREEL_SOURCE_DIR");
  REQUIRE(source != nullptr);
  const card::Card card = card::read(std::string(source) + "/models/shapes-i2v");
  const Recipe recipe = recipe_for(card, RecipeChoice::automatic);
  const auto error = thrown_by([&] { resolve(parse_job(kJob, {}), card, recipe); });
  CHECK(error.kind == ErrorKind::job);
  CHECK_MESSAGE(contains(error.message, "image: "), error.message);
  const std::string picture = std::string(source) + "/jobs/pictures/shapes/red_circle.png";
  const Json with_picture{{"prompt", "p"}, {"image", picture}};
  CHECK(resolve(parse_job(with_picture.dump(), {}), card, recipe).image == picture);
}

TEST_CASE("every line of the example lists fits the model that it is for") {
  const char* source = std::getenv("NIGHTREEL_SOURCE_DIR");
  REQUIRE(source != nullptr);
  const std::vector<std::pair<const char*, CheckpointFiles>> lists{{"t2v.jsonl", test::t2v_a14b()},
                                                                   {"seeds.jsonl", test::t2v_a14b()},
                                                                   {"four_steps.jsonl", test::t2v_a14b()},
                                                                   {"i2v.jsonl", test::i2v_a14b()},
                                                                   {"first_last_frame.jsonl", test::i2v_a14b()},
                                                                   {"ti2v_5b.jsonl", test::ti2v_5b()},
                                                                   {"wan21_i2v.jsonl", test::wan21_14b(36, 0)},
                                                                   {"wan21_flf2v.jsonl", test::wan21_14b(36, 514)}};
  for (const auto& [name, files] : lists) {
    CAPTURE(name);
    const card::Card card = card_of(files);
    CHECK_NOTHROW(card::check_supported(card));
    const auto jobs = read_job_files({std::string(source) + "/jobs/" + name});
    CHECK(jobs.size() >= 2);
    CHECK_NOTHROW(check_jobs(jobs, card, recipe_for(card, RecipeChoice::automatic)));
  }
}

TEST_CASE("the list of jobs with LoRAs fits its model once the files that it names are there") {
  const char* source = std::getenv("NIGHTREEL_SOURCE_DIR");
  REQUIRE(source != nullptr);
  const std::string list = std::string(source) + "/jobs/four_steps_loras.jsonl";
  CHECK(thrown_by([&] { read_job_files({list}); }).message.find("loras: [0]: path: ") != std::string::npos);
  const test::TempFolder folder;
  for (const char* name : {"wan2.2_t2v_a14b_4steps_high_noise", "wan2.2_t2v_a14b_4steps_low_noise", "style"}) {
    folder.write(std::string("loras/") + name + ".safetensors", "");
  }
  std::filesystem::copy_file(list, folder / "list.jsonl");
  const auto jobs = read_job_files({folder / "list.jsonl"});
  REQUIRE(jobs.size() == 4);
  const card::Card card = card_of(test::t2v_a14b());
  CHECK_NOTHROW(check_jobs(jobs, card, recipe_for(card, RecipeChoice::automatic)));
  CHECK(lora_set(jobs[0].loras) == lora_set(jobs[1].loras));
  CHECK(lora_set(jobs[0].loras) != lora_set(jobs[2].loras));
  CHECK(lora_set(jobs[3].loras).empty());
}

TEST_CASE("settings come back from JSON as they were") {
  Settings s = settings_of(kJob, test::t2v_a14b());
  s.sigmas = {1.0, 0.9375};
  s.loras = {{"/a.safetensors", -0.5, "high"}};
  s.image = "/a.png";
  s.last_image = "/b.png";
  s.seed = 9223372036854775807U;
  const Json json = to_json(s);
  CHECK(to_json(settings_from_json(json)) == json);
  s.guidance_scale_2.reset();
  s.boundary_ratio.reset();
  CHECK_FALSE(settings_from_json(to_json(s)).boundary_ratio);
  CHECK(json.size() == 19);
  for (const auto& [name, value] : json.items()) {
    Json broken = json;
    broken.erase(name);
    if (!settings::row(name).neutral.empty()) {  // 0.1 did not have it
      CHECK(to_json(settings_from_json(broken)) == json);
      continue;
    }
    CHECK(thrown_by([&] { settings_from_json(broken); }).kind == ErrorKind::internal);
  }
}

}  // namespace
}  // namespace nightreel::job
