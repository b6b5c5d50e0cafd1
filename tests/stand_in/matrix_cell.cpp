// One cell of the matrix: videos of a published model on a card, through the product's own way, on the counting
// stand-in. Prints one JSON object.
//
//   LD_PRELOAD=libstand_in_counting.so STAND_IN_GPU_BYTES=… matrix_cell MODEL DTYPE RANKS VIDEOS JOB [OTHERS]
//
// RANKS above 1: as the first member of a group whose others are imagined. JOB is a job as JSON without a prompt: each
// video has one of another length. OTHERS: a JSON list of the bytes that other processes have taken of the card when a
// video begins. Reading 69 GB to hash them is left out.
#include <c10/cuda/CUDACachingAllocator.h>
#include <dlfcn.h>

#include <ATen/ATen.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "nightreel/base/error.h"
#include "nightreel/job/recipe.h"
#include "nightreel/job/resolve.h"
#include "nightreel/memory/plan.h"
#include "nightreel/memory/text.h"
#include "nightreel/model/checkpoint.h"
#include "nightreel/render/video_maker.h"
#include "stand_in/imagined_group.h"

using namespace nightreel;
using nlohmann::json;

// The linker gives every call of model_digest() to this (CMakeLists.txt).
extern "C" std::string stand_in_digest(const std::string&, const base::CancelToken&) {
  return "00000000000000000000000000000000";
}

namespace {

template <class Function>
Function* from_stand_in(const char* name) {
  void* found = ::dlsym(RTLD_DEFAULT, name);
  if (found == nullptr) throw base::Error(base::ErrorKind::internal, "the counting stand-in is not preloaded");
  return reinterpret_cast<Function*>(found);
}

void reset_counts() {
  from_stand_in<void()>("stand_in_reset")();
}

json counted() {
  return json::parse(from_stand_in<const char*()>("stand_in_report")());
}

// What a step, or a stage, has cost.
json cost_of(const json& counts) {
  long waits = 0;
  long launches = 0;
  json named = json::object();
  json copies = json::object();
  for (const auto& [call, times] : counts.at("calls").items()) {
    if (call.rfind("sync ", 0) == 0) waits += times.at(0).get<long>();
    if (call.rfind("copy ", 0) == 0) copies[call] = times.at(1);
  }
  for (const auto& [kernel, times] : counts.at("kernels").items()) {
    launches += times.get<long>();
    for (const char* kind : {"attention ", "convolution ", "product "}) {
      if (kernel.rfind(kind, 0) == 0) named[kernel] = times;
    }
  }
  return {{"waits", waits},
          {"launches", launches},
          {"copied", copies},
          {"operator_bytes", counts.at("operator_bytes")},
          {"kernels", named}};
}

// Follows a video through its stages: what the allocator holds at most in each, and in the last video from its first
// step on (settled); what each step costs.
class Watch {
 public:
  explicit Watch(stand_in::Sent& sent) : sent_(sent) {}

  void begin() {
    c10::cuda::CUDACachingAllocator::resetPeakStats(0);
    stage_ = "load";
  }

  void reached(const std::string& stage, std::int64_t step) {
    if (stage == "denoise" && step > 0) steps_.push_back(cost_here());
    if (stage != stage_) {
      end_stage();
    } else if (!settled_) {
      settle();
    }
    stage_ = stage;
    reset_counts();
    sent_.clear();
  }

  void end_stage() {
    const auto stats = c10::cuda::CUDACachingAllocator::getDeviceStats(0);
    json& seen = stages_[stage_];
    if (seen.is_null()) seen = {{"allocated", 0}, {"reserved", 0}, {"taken", 0}};
    const json use = counted().at("memory");
    const auto most = [&](const char* what, std::int64_t bytes) {
      seen[what] = std::max(seen.at(what).get<std::int64_t>(), bytes);
    };
    most("allocated", std::max(allocated_before_, stats.allocated_bytes[0].peak));
    seen["settled"] = stats.allocated_bytes[0].peak;
    most("reserved", std::max(reserved_before_, stats.reserved_bytes[0].peak));
    most("taken", use.at("most").get<std::int64_t>());
    if (stage_ != "denoise") seen["cost"] = cost_here();
    c10::cuda::CUDACachingAllocator::resetPeakStats(0);
    allocated_before_ = reserved_before_ = 0;
    settled_ = false;
  }

  json stages() const { return stages_; }
  json steps() const { return steps_; }

 private:
  /// By its first step a stage has what it needs, and what an earlier one needed has left.
  void settle() {
    const auto stats = c10::cuda::CUDACachingAllocator::getDeviceStats(0);
    allocated_before_ = stats.allocated_bytes[0].peak;
    reserved_before_ = stats.reserved_bytes[0].peak;
    c10::cuda::CUDACachingAllocator::resetPeakStats(0);
    settled_ = true;
  }
  json cost_here() const {
    json cost = cost_of(counted());
    cost["sent"] = sent_;
    return cost;
  }

  stand_in::Sent& sent_;
  std::string stage_ = "load";
  bool settled_ = false;
  std::int64_t allocated_before_ = 0;  // the stage's peaks before it was settled
  std::int64_t reserved_before_ = 0;
  json stages_ = json::object();
  json steps_ = json::array();
};

settings::Settings settings_of(const std::string& model, json fields, int video) {
  std::string prompt = "a red circle";
  for (int i = 0; i < 7 * video; ++i) prompt += " moves right";
  fields["prompt"] = prompt;
  const card::Card card = card::read(model);
  return job::resolve(job::make_job(fields, {}), card, job::recipe_for(card, job::RecipeChoice::automatic));
}

struct Asked {
  std::string model;
  std::string dtype;
  int ranks = 1;
  int videos = 0;
  json fields;
  std::vector<std::uint64_t> others;
};

// `plans`: each video's, where it was made.
json make_videos(render::VideoMaker& maker, const Asked& asked, Watch& watch, json& plans) {
  render::RenderObserver observer;
  observer.progress = [&](const std::string& stage, std::int64_t step, std::int64_t) { watch.reached(stage, step); };
  json made = json::array();
  for (int video = 1; video <= asked.videos; ++video) {
    const auto before = static_cast<std::size_t>(video - 1);
    if (before < asked.others.size()) from_stand_in<void(std::uint64_t)>("stand_in_others_hold")(asked.others[before]);
    const settings::Settings settings = settings_of(asked.model, asked.fields, video);
    try {
      const render::Rendered rendered = maker.render({settings, maker.prepare(settings), {}, observer});
      plans.push_back(rendered.plan);
      made.push_back("ok");
    } catch (const std::exception& e) {
      const std::string why = e.what();
      plans.push_back(nullptr);
      made.push_back(why.substr(0, why.find('\n')).substr(0, 300));
    }
    watch.end_stage();
  }
  return made;
}

json cell(const Asked& asked) {
  render::MakerOptions options;
  options.model = asked.model;
  options.device = "cuda";
  options.dtype = asked.dtype;
  options.log = base::Logger::to_stderr(base::LogFormat::text, "cell");
  stand_in::Sent sent;
  Watch watch(sent);
  try {
    render::VideoMaker maker(options);
    if (asked.ranks > 1) {
      maker.share(std::make_unique<stand_in::ImaginedGroup>(asked.ranks, sent), std::chrono::minutes(1));
    }
    watch.begin();
    const auto memory = memory::device_memory_from_json(maker.facts().memory);
    json plan = memory::to_json(memory::fitting_plan(memory, settings_of(asked.model, asked.fields, 1)));
    json plans = json::array();
    const json made = make_videos(maker, asked, watch, plans);
    if (!plans.at(0).is_null()) plan = plans.at(0);
    const auto stats = c10::cuda::CUDACachingAllocator::getDeviceStats(0);
    return {{"plan", plan},
            {"plans", plans},
            {"videos", made},
            {"stages", watch.stages()},
            {"steps", watch.steps()},
            {"retries", stats.num_alloc_retries},
            {"out_of_memory", stats.num_ooms},
            {"counted", counted().at("memory")}};
  } catch (const base::Error& e) {
    return {{"refused", e.what()}};
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6 && argc != 7) {
    std::fprintf(stderr, "usage: matrix_cell MODEL DTYPE RANKS VIDEOS JOB [OTHERS]\n");
    return 2;
  }
  try {
    const Asked asked{argv[1],
                      argv[2],
                      std::stoi(argv[3]),
                      std::stoi(argv[4]),
                      json::parse(argv[5]),
                      json::parse(argc == 7 ? argv[6] : "[]")};
    std::printf("%s\n", cell(asked).dump().c_str());
    return 0;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "matrix_cell: %s\n", e.what());
    return 1;
  }
}
