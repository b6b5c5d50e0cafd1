// A drain loop keeps to the LoRAs that its renderer's weights are merged with.
#include <algorithm>

#include "rank/night.h"

using namespace nightreel;
using namespace nightreel::test;

namespace {

struct LoraNight : Night {
  void add_of(const std::string& set, const std::string& id, base::Json more = base::Json::object()) {
    base::Json spec{{"id", id},     {"prompt", "a circle"}, {"num_inference_steps", 4},
                    {"height", 16}, {"width", 16},          {"num_frames", 5}};
    spec.update(more);
    queue::Submission one = queue::submission_of(job::parse_job(spec.dump(), {"/", ""}));
    one.lora_set = set;
    jobs.submit({one}, {});
  }
  /// Ids in the order in which they were claimed, again where they were claimed again.
  std::vector<std::string> claimed() {
    std::vector<std::string> ids;
    const queue::Reply events = raw.command({"XRANGE", "nightreel:{default}:events", "-", "+"});
    for (const queue::Reply& event : events.array()) {
      if (event.at(1).at(1).text() == "running") ids.push_back(event.at(1).at(3).text());
    }
    return ids;
  }
};

}  // namespace

TEST_CASE_FIXTURE(LoraNight, "a rank takes the jobs of one LoRA set after each other") {
  for (int i = 1; i <= 3; ++i) {
    for (const char* set : {"", "x", "y"}) add_of(set, (*set == '\0' ? "n" : set) + std::to_string(i));
  }
  drain();
  CHECK(claimed() == std::vector<std::string>{"n1", "n2", "n3", "x1", "x2", "x3", "y1", "y2", "y3"});
}

TEST_CASE_FIXTURE(LoraNight, "it lets others through after sixteen") {
  for (int i = 1; i <= 20; ++i) add_of("", "n" + std::to_string(i));
  add_of("x", "x1");
  raw.command({"ZADD", "nightreel:{default}:pend", "0.5", "x1"});  // before all others
  drain();
  const auto order = claimed();
  CHECK(std::find(order.begin(), order.end(), "x1") - order.begin() == 16);
}

TEST_CASE_FIXTURE(LoraNight, "a new renderer's weights are merged with nothing") {
  add_of("x", "x1", {{"prompt", "at=denoise:1 do=kill"}, {"priority", 1}, {"max_attempts", 1}});
  add_of("x", "x2");
  add_of("", "n1");
  drain();
  const auto order = claimed();
  CHECK(order.front() == "x1");
  CHECK(order.back() == "x2");  // perhaps claimed before the death, too
}
