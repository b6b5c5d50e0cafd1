#include "doctor/queued.h"

#include "nightreel/base/json.h"
#include "nightreel/queue/redis_queue.h"

namespace nightreel::doctor {
namespace {

using base::Json;

constexpr const char* kSample = "64";      // jobs of each kind
constexpr std::int64_t kMost = 1'000'000;  // pixels or frames: no model makes as many

std::int64_t whole(const Json& body, const char* name) {
  const auto field = body.find(name);
  if (field == body.end() || !field->is_number_integer()) return 0;
  const auto value = field->get<std::int64_t>();
  return value > 0 && value <= kMost ? value : 0;
}

}  // namespace

VideoSize video_size(std::string_view text) {
  Json body = Json::parse(text, nullptr, false);
  if (body.is_object() && body.contains("spec")) body = Json(body["spec"]);  // as the queue keeps it
  if (!body.is_object()) return {};
  return {whole(body, "height"), whole(body, "width"), whole(body, "num_frames")};
}

Queued look_at_queue(const std::vector<queue::RedisAddress>& addresses, const std::string& name) {
  queue::RedisQueueOptions options;
  options.redis.addresses = addresses;
  options.redis.client_name = "nightreel-doctor";
  options.name = name;
  queue::RedisQueue jobs(options);
  const queue::Counts counts = jobs.counts("");
  Queued queued{counts.inbox + counts.pending + counts.delayed + counts.running, {}};
  queue::Redis redis(options.redis);
  const std::string prefix = "nightreel:{" + name + "}:";
  const auto ids = redis.command({"ZRANDMEMBER", prefix + "pend", kSample});
  for (const auto& id : ids.array()) {
    const auto spec = redis.command({"HGET", prefix + "job:" + id.text(), "spec"});
    queued.sample.push_back(video_size(spec.text_or_empty()));
  }
  const auto entries = redis.command({"LRANGE", prefix + "inbox", "0", kSample});
  for (const auto& entry : entries.array()) queued.sample.push_back(video_size(entry.text()));
  return queued;
}

}  // namespace nightreel::doctor
