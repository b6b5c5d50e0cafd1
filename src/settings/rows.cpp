#include <algorithm>

#include "nightreel/base/error.h"
#include "nightreel/settings/row.h"

namespace nightreel::settings {
namespace {

constexpr std::string_view kRecipe = "the recipe's";
constexpr std::string_view kRun = "the run's";
constexpr std::int64_t kMaxSide = 16384;

constexpr std::array<Row, 23> kRows{{
    {.name = "id",
     .member = &Fields::id,
     .group = Group::queue,
     .form = Form::id,
     .fallback = "first 16 hex digits of the job's hash",
     .help = "names the outputs; letters, digits, _, - and ., at most 128, not beginning with a dot, a hyphen or "
             "inbox-"},
    {.name = "prompt",
     .member = &Fields::prompt,
     .most = kMaxPrompt,
     .form = Form::filled,
     .help = "what the video shows"},
    {.name = "negative_prompt",
     .member = &Fields::negative_prompt,
     .most = kMaxPrompt,
     .aliases = {"n_prompt", "sample_neg_prompt"},
     .in_checkpoint = true,
     .fallback = kRecipe,
     .help = "what it shall not show"},
    {.name = "image",
     .member = &Fields::image,
     .most = kMaxPrompt,
     .form = Form::path,
     .aliases = {"first_frame"},
     .fallback = "none",
     .help = "the first picture: PNG, JPEG or WebP"},
    {.name = "last_image",
     .member = &Fields::last_image,
     .most = kMaxPrompt,
     .form = Form::path,
     .aliases = {"last_frame"},
     .fallback = "none",
     .help = "the last picture; goes with image"},
    {.name = "height",
     .member = &Fields::height,
     .low = 1,
     .high = kMaxSide,
     .in_checkpoint = true,
     .unit = "pixels",
     .fallback = kRecipe,
     .help = "a multiple that the model allows; else the error names the nearest"},
    {.name = "width",
     .member = &Fields::width,
     .low = 1,
     .high = kMaxSide,
     .in_checkpoint = true,
     .unit = "pixels",
     .fallback = kRecipe,
     .help = "as height"},
    {.name = "num_frames",
     .member = &Fields::num_frames,
     .low = 1,
     .high = 100000,
     .aliases = {"frame_num", "frames"},
     .in_checkpoint = true,
     .unit = "frames",
     .fallback = kRecipe,
     .help = "4n+1; else the error names the nearest"},
    {.name = "fps",
     .member = &Fields::fps,
     .group = Group::encoding,
     .high = 240,
     .above = true,
     .in_checkpoint = true,
     .unit = "frames a second",
     .fallback = kRecipe,
     .help = "how fast the video plays"},
    {.name = "num_inference_steps",
     .member = &Fields::num_inference_steps,
     .low = 1,
     .high = kMaxSteps,
     .aliases = {"sample_steps", "steps"},
     .in_checkpoint = true,
     .unit = "steps",
     .fallback = kRecipe,
     .help = "denoising steps"},
    {.name = "guidance_scale",
     .member = &Fields::guidance_scale,
     .high = 100,
     .aliases = {"sample_guide_scale", "cfg", "cfg_scale"},
     .in_checkpoint = true,
     .fallback = kRecipe,
     .help = "of the high-noise expert, as in diffusers; at 1 a step is one pass"},
    {.name = "guidance_scale_2",
     .member = &Fields::guidance_scale_2,
     .high = 100,
     .in_checkpoint = true,
     .fallback = kRecipe,
     .help = "of the low-noise expert, as in diffusers"},
    {.name = "flow_shift",
     .member = &Fields::flow_shift,
     .high = 1000,
     .above = true,
     .aliases = {"sample_shift", "shift"},
     .fallback = kRecipe,
     .help = "shift of the noise schedule"},
    {.name = "boundary_ratio",
     .member = &Fields::boundary_ratio,
     .high = 1,
     .fallback = kRecipe,
     .help = "the noise level at which the experts change over"},
    {.name = "sampler",
     .member = &Fields::sampler,
     .choices = {"unipc", "dpm++", "euler"},
     .aliases = {"sample_solver"},
     .fallback = kRecipe,
     .help = "the method that walks down the noise schedule"},
    {.name = "sigmas",
     .member = &Fields::sigmas,
     .high = 1,
     .above = true,
     .most = kMaxSteps,
     .fallback = "from num_inference_steps and flow_shift",
     .help = "the noise levels themselves, a falling list; as many steps"},
    {.name = "seed",
     .member = &Fields::seed,
     .high = INT64_MAX,
     .aliases = {"base_seed"},
     .fallback = "from the hash",
     .help = "of the start noise, as torch's CPU generator gives it, float32, drawn whole"},
    {.name = "loras",
     .member = &Fields::loras,
     .most = 64,
     .fallback = "[]",
     .help = "a list of {\"path\": \"style.safetensors\", \"scale\": 1.0, \"expert\": \"both\"}; expert: high, low, "
             "both"},
    {.name = "crf",
     .member = &Fields::crf,
     .group = Group::encoding,
     .high = 51,
     .neutral = "18",
     .fallback = kRun,
     .help = "quality of the file; 0 loses nothing, more is smaller"},
    {.name = "codec",
     .member = &Fields::codec,
     .group = Group::encoding,
     .choices = {"h264", "hevc"},
     .neutral = "\"h264\"",
     .fallback = kRun,
     .help = "of the file; hevc is smaller, plays in fewer programs and is not the same bytes each time"},
    {.name = "priority",
     .member = &Fields::priority,
     .group = Group::queue,
     .low = -kMaxPriority,
     .high = kMaxPriority,
     .fallback = "0",
     .help = "higher first, else first come first served"},
    {.name = "max_attempts",
     .member = &Fields::max_attempts,
     .group = Group::queue,
     .low = 1,
     .high = 1000,
     .unit = "attempts",
     .fallback = kRun,
     .help = "before the job counts as failed"},
    {.name = "timeout_s",
     .member = &Fields::timeout_s,
     .group = Group::queue,
     .high = 10000000,
     .above = true,
     .unit = "seconds",
     .fallback = "none",
     .help = "counts while a renderer works on the job, not while it waits behind another"},
}};

template <std::size_t N>
std::vector<std::string_view> filled(const std::array<std::string_view, N>& names) {
  std::vector<std::string_view> out;
  std::copy_if(names.begin(), names.end(), std::back_inserter(out), [](auto name) { return !name.empty(); });
  return out;
}

template <typename Value>
bool holds(const Row& row) {
  return std::holds_alternative<Value Fields::*>(row.member);
}

}  // namespace

bool is_whole(const Row& row) {
  return holds<std::int64_t>(row) || holds<std::uint64_t>(row) || holds<std::optional<std::int64_t>>(row);
}

bool is_number(const Row& row) {
  return is_whole(row) || holds<double>(row) || holds<std::optional<double>>(row);
}

bool is_list(const Row& row) {
  return holds<std::vector<double>>(row) || holds<std::vector<Lora>>(row);
}

std::span<const Row> rows() {
  return kRows;
}

const Row* find_row(std::string_view name) {
  const auto fits = [&](const Row& row) {
    return row.name == name || std::count(row.aliases.begin(), row.aliases.end(), name) > 0;
  };
  const auto* found = std::find_if(kRows.begin(), kRows.end(), fits);
  return name.empty() || found == kRows.end() ? nullptr : found;
}

const Row& row(std::string_view name) {
  const Row* found = find_row(name);
  if (found != nullptr && found->name == name) return *found;
  throw base::Error(base::ErrorKind::internal, "no setting " + std::string(name));
}

std::string flag_name(std::string_view field) {
  std::string name(field);
  std::replace(name.begin(), name.end(), '_', '-');
  return name;
}

std::vector<std::string_view> choices_of(const Row& row) {
  return filled(row.choices);
}

std::vector<std::string_view> aliases_of(const Row& row) {
  return filled(row.aliases);
}

}  // namespace nightreel::settings
