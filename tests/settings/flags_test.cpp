// Settings as flags, and other programs' flags.
#include "nightreel/settings/flags.h"

#include <doctest/doctest.h>

#include <fstream>
#include <set>

#include "nightreel/settings/json.h"
#include "nightreel/settings/stated.h"
#include "settings/examples.h"
#include "support/error.h"

namespace nightreel::settings {
namespace {

using base::Json;
using test::thrown_by;

/// A job from flags, as `generate` makes it.
Json job_of(const std::vector<std::pair<std::string, std::string>>& flags) {
  Json job = Json::object();
  for (const auto& [flag, text] : flags) {
    for (const Row& row : rows()) {
      if (flag_name(row.name) == flag) job[std::string(row.name)] = value_of_flag(row, text);
    }
  }
  return job;
}

TEST_CASE("the flags that tell settings give the same settings again, for each row") {
  for (const Row& row : rows()) {
    if (row.group == Group::queue) continue;
    CAPTURE(row.name);
    Settings settings;
    settings.prompt = "p";
    settings.height = settings.width = settings.num_frames = settings.num_inference_steps = 1;
    Json stated{{"prompt", "p"}};
    stated[std::string(row.name)] = test::example(row);
    overlay(read_stated(stated, Source::job), settings);
    const Json job = job_of(flags_of(settings));
    CHECK(job.at(std::string(row.name)) == test::example(row));
    Settings again = settings;
    overlay(read_stated(job, Source::job), again);
    CHECK(to_json(again) == to_json(settings));
  }
}

TEST_CASE("files and lists that are not there need no flag, an empty prompt does, and sigmas stand for the steps") {
  Settings settings;
  const auto names = [&] {
    std::set<std::string> seen;
    for (const auto& [flag, text] : flags_of(settings)) seen.insert(flag);
    return seen;
  };
  for (const char* absent : {"image", "last-image", "sigmas", "loras", "guidance-scale-2", "boundary-ratio"}) {
    CHECK(names().count(absent) == 0);
  }
  for (const char* present : {"negative-prompt", "num-inference-steps", "crf", "codec", "fps"}) {
    CHECK(names().count(present) == 1);
  }
  settings.sigmas = {1, 0.5};
  CHECK(names().count("num-inference-steps") == 0);
  CHECK(names().count("sigmas") == 1);
}

TEST_CASE("numbers that are none are refused with the flag") {
  const auto refusal = [](const char* field, const std::string& text) {
    const auto error = thrown_by([&] { value_of_flag(row(field), text); });
    CHECK(error.kind == base::ErrorKind::usage);
    return error.message;
  };
  CHECK(refusal("height", "tall") == "--height: 'tall' is no whole number");
  CHECK(refusal("height", "480.5") == "--height: '480.5' is no whole number");
  CHECK(refusal("seed", "") == "--seed: '' is no whole number");
  CHECK(refusal("seed", "99999999999999999999") == "--seed: '99999999999999999999' is no whole number");
  CHECK(refusal("fps", "24fps") == "--fps: '24fps' is no number");
  CHECK(refusal("guidance_scale", "inf") == "--guidance-scale: 'inf' is no number");
  CHECK(refusal("sigmas", "1,,0.5") == "--sigmas: '' is no number");
  CHECK(test::contains(refusal("loras", "{"), "--loras: parse error"));
  CHECK(value_of_flag(row("guidance_scale"), "4") == Json(4.0));
  CHECK(value_of_flag(row("sigmas"), "1") == Json({1.0}));
}

TEST_CASE("a flag has hyphens and its aliases, and says unit, range and meaning") {
  CHECK(flag_names(row("num_inference_steps")) == "--num-inference-steps,--sample-steps,--steps");
  CHECK(flag_names(row("codec")) == "--codec");
  CHECK(flag_help(row("num_frames")) == "frames, 1 to 100000: 4n+1; else the error names the nearest");
  CHECK(flag_help(row("prompt")) == "what the video shows");
  CHECK(test::contains(flag_help(row("sampler")), "unipc, dpm++, euler: "));
  CHECK(test::contains(flag_help(row("sigmas")), "separated by commas, at most 1000, each above 0 to 1: "));
}

TEST_CASE("Wan's --size is width and height") {
  CHECK(parse_size("832*480") == std::pair<std::int64_t, std::int64_t>(832, 480));
  CHECK(parse_size("1280x720") == std::pair<std::int64_t, std::int64_t>(1280, 720));
  for (const char* bad : {"", "832", "832*", "*480", "832*480*3", "832 * 480", "a*b"}) {
    CAPTURE(bad);
    CHECK(thrown_by([&] { parse_size(bad); }).message ==
          "--size: '" + std::string(bad) + "' is no WIDTH*HEIGHT, such as 832*480");
  }
}

TEST_CASE("each flag of Wan's generate.py is one of ours, an alias, or has a sentence") {
  // wan 2.1 and 2.2, generate.py: _parse_args().
  const std::set<std::string> ours_too{"size", "ckpt_dir", "save_file", "prompt",
                                       "image"};  // the first three: generate's
  int seen = 0;
  for (const std::string flag : {"task",
                                 "size",
                                 "frame_num",
                                 "ckpt_dir",
                                 "offload_model",
                                 "ulysses_size",
                                 "ring_size",
                                 "t5_fsdp",
                                 "t5_cpu",
                                 "dit_fsdp",
                                 "save_file",
                                 "src_video",
                                 "src_mask",
                                 "src_ref_images",
                                 "prompt",
                                 "base_seed",
                                 "image",
                                 "first_frame",
                                 "last_frame",
                                 "use_prompt_extend",
                                 "sample_solver",
                                 "sample_steps",
                                 "sample_shift",
                                 "num_clip",
                                 "prompt_extend_method",
                                 "audio",
                                 "enable_tts",
                                 "prompt_extend_model",
                                 "tts_text",
                                 "prompt_extend_target_lang",
                                 "pose_video",
                                 "infer_frames",
                                 "sample_guide_scale",
                                 "replace_flag",
                                 "convert_model_dtype",
                                 "refert_num",
                                 "tts_prompt_audio",
                                 "tts_prompt_text",
                                 "src_root_path",
                                 "use_relighting_lora",
                                 "start_from_ref"}) {
    CAPTURE(flag);
    const bool known = ours_too.count(flag) > 0 || find_row(flag) != nullptr;
    CHECK(known == foreign_flag(flag_name(flag)).empty());
    ++seen;
  }
  CHECK(seen == 41);
  CHECK(foreign_flag("colourfulness").empty());
}

}  // namespace
}  // namespace nightreel::settings
