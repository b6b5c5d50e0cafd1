#include "app/engine/model_memory.h"

#include <algorithm>

#include "app/engine/engine_flags.h"
#include "nightreel/base/error.h"
#include "nightreel/memory/plan.h"
#include "nightreel/memory/text.h"
#include "nightreel/pipeline/device.h"
#include "nightreel/pipeline/gpu_memory.h"
#include "nightreel/pipeline/memory_model.h"

namespace nightreel::app {
namespace {

using base::Error;
using base::ErrorKind;

/// A size that the model does not do is this command line's fault, and a flag by name.
void check_size(const card::Card& card, const settings::Settings& settings) {
  try {
    card.check_size(settings);
  } catch (const Error& e) {
    std::string why = e.what();
    std::replace(why.begin(), why.begin() + static_cast<std::ptrdiff_t>(std::min(why.find(':'), why.size())), '_', '-');
    throw Error(ErrorKind::usage, "--" + why);
  }
}

settings::Settings settings_of(const MemoryFlags& flags, const card::Card& card, const job::Recipe& recipe) {
  settings::Settings s = recipe.defaults;
  if (flags.height > 0) s.height = flags.height;
  if (flags.width > 0) s.width = flags.width;
  if (flags.num_frames > 0) s.num_frames = flags.num_frames;
  check_size(card, s);
  const bool needs_picture = card.kind == card::ModelKind::i2v || card.kind == card::ModelKind::flf2v;
  if (needs_picture) s.image = "a first picture";  // what is in it needs no memory
  return s;
}

memory::MemoryModel model_of(const MemoryFlags& flags, const card::Card& card) {
  const at::ScalarType dtype = flags.dtype == "f32" ? at::kFloat : at::kBFloat16;
  return pipeline::memory_model(card, {dtype, /*gpu=*/true, std::nullopt, pipeline::holds_fp8(flags.dtype)});
}

}  // namespace

void MemoryFlags::add_to(CLI::App& sub) {
  add_memory_flag(sub, gpu_memory);
  sub.add_option("--dtype", dtype, "of the memory plan: auto (bf16), bf16, f32, fp8")
      ->check(CLI::IsMember({"auto", "bf16", "f32", "fp8"}))
      ->capture_default_str();
  sub.add_option("--height", height, "of the memory plan's video; default: the recipe's, as for width and num-frames");
  sub.add_option("--width", width, "pixels");
  sub.add_option("--num-frames,--frame-num", num_frames, "4n+1");
}

MemoryAnswer memory_answer(const MemoryFlags& flags, const card::Card& card, const job::Recipe& recipe) {
  const settings::Settings settings = settings_of(flags, card, recipe);
  const memory::MemoryModel model = model_of(flags, card);
  const memory::MemoryPlan plan = memory::plan_memory(model, settings, flags.gpu_memory);
  MemoryAnswer answer{memory::describe(model, plan, settings), memory::to_json(plan)};
  answer.json["height"] = settings.height;
  answer.json["width"] = settings.width;
  answer.json["num_frames"] = settings.num_frames;
  answer.json["would_fit"] = nlohmann::json::array();
  if (plan.fits) return answer;
  for (const auto& one : memory::what_would_fit(model, settings, flags.gpu_memory)) {
    answer.lines.push_back("would fit: " + one);
    answer.json["would_fit"].push_back(one);
  }
  return answer;
}

memory::DeviceMemory device_memory(const card::Card& card, const render::MakerOptions& options) {
  const at::Device device = pipeline::choose_device(options.device);
  const auto dtype = pipeline::choose_dtype(options.dtype, device);
  const auto precision = pipeline::precision_on(device, dtype, pipeline::holds_fp8(options.dtype));
  return {pipeline::memory_model(card, precision),
          options.gpu_memory > 0 ? options.gpu_memory : pipeline::memory_to_plan_with(device),
          {},
          device.is_cpu() ? pipeline::host_memory_limit() : 0};
}

}  // namespace nightreel::app
