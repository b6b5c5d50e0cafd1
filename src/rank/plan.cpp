#include "rank/plan.h"

#include "nightreel/job/job_file.h"
#include "nightreel/job/memory_check.h"
#include "nightreel/job/resolve.h"
#include "nightreel/media/input_files.h"
#include "nightreel/media/video.h"
#include "nightreel/queue/submit_jobs.h"

namespace nightreel::rank {
namespace {

// Before weights are loaded: a build of libavcodec may lack one.
void check_codecs(const Plan& plan) {
  media::check_codec(plan.recipe.defaults.codec);
  for (const auto& job : plan.jobs) {
    if (job.states("codec")) media::check_codec(job.codec);
  }
}

}  // namespace

Plan make_plan(const RunOptions& options) {
  queue::check_queue_name(options.queue);
  if (!options.redis.empty()) queue::parse_redis_addresses(options.redis);
  Plan plan;
  plan.jobs = job::read_job_files(options.files, options.input_root);
  plan.card = card::read(options.model);
  card::check_supported(plan.card);
  plan.recipe = job::recipe_for(plan.card, options.recipe);
  plan.recipe.defaults.crf = options.encoding.crf;
  plan.recipe.defaults.codec = options.encoding.codec;
  job::check_jobs(plan.jobs, plan.card, plan.recipe);
  check_codecs(plan);
  media::check_input_files(plan.jobs);
  return plan;
}

queue::RedisQueueOptions queue_options(const RunOptions& options, const std::vector<queue::RedisAddress>& addresses) {
  queue::RedisQueueOptions wanted;
  wanted.redis.addresses = addresses;
  wanted.redis.client_name = "nightreel-run";
  wanted.name = options.queue;
  wanted.lease = std::chrono::seconds(options.lease_s);
  return wanted;
}

std::vector<std::string> answered_for(queue::JobQueue& jobs, const RunOptions& options, const Plan& plan) {
  std::vector<std::string> ids = options.again;
  for (const auto& job : plan.jobs) ids.push_back(job.id);
  if (!options.files.empty() || options.follow) return ids;
  for (const auto& job : jobs.list(queue::JobState::done)) ids.push_back(job.id);
  return ids;
}

void submit(queue::JobQueue& jobs, const Plan& plan, const RunOptions& options, const std::string& digest,
            const memory::DeviceMemory& memory) {
  job::check_memory(plan.jobs, plan.card, plan.recipe, memory);
  jobs.bind_model(digest);
  queue::submit_jobs(jobs, plan.jobs, {options.overwrite, options.out, digest});
}

}  // namespace nightreel::rank
