// Prompt cleaning: what diffusers' WanPipeline does to a prompt before it is tokenised.
//
// Owns nothing and keeps no state; any thread may call it. It never fails: bytes that are not UTF-8 become U+FFFD.
#pragma once

#include <string>
#include <string_view>

namespace nightreel::text {

/// diffusers' prompt_clean (pipelines/wan/pipeline_wan.py): ftfy.fix_text (6.3.1, defaults), html.unescape twice, runs
/// of white space made one blank, white space at both ends removed. The result is valid UTF-8.
///
/// One departure: ftfy repeats its fixers until nothing changes, which takes time quadratic in the length for text
/// like "&amp;amp;amp;…"; here it is repeated at most 64 times. The time is linear in the length.
std::string clean_prompt(std::string_view utf8);

}  // namespace nightreel::text
