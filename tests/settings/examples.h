// A value for each row that is not its first one.
#pragma once

#include <map>
#include <string_view>

#include "nightreel/base/json.h"
#include "nightreel/settings/row.h"

namespace nightreel::test {

inline const std::map<std::string_view, const char*> kExamples{
    {"id", R"("a.b-c_d")"},
    {"prompt", R"("it's a \"cat\"\n日本 $HOME")"},
    {"negative_prompt", R"("--seed 3")"},
    {"image", R"("/a b.png")"},
    {"last_image", R"("/b.png")"},
    {"height", "480"},
    {"width", "832"},
    {"num_frames", "81"},
    {"fps", "23.976"},
    {"num_inference_steps", "4"},
    {"guidance_scale", "4.5"},
    {"guidance_scale_2", "3.5"},
    {"flow_shift", "12.0"},
    {"boundary_ratio", "0.875"},
    {"sampler", R"("dpm++")"},
    {"sigmas", "[1.0, 0.9375, 0.3333333333333333]"},
    {"seed", "9223372036854775807"},
    {"loras", R"([{"path": "/a b.safetensors", "scale": -0.1, "expert": "low"}])"},
    {"crf", "0"},
    {"codec", R"("hevc")"},
    {"priority", "-5"},
    {"max_attempts", "7"},
    {"timeout_s", "0.5"},
};

inline base::Json example(const settings::Row& row) {
  return base::parse_json(kExamples.at(row.name));
}

}  // namespace nightreel::test
