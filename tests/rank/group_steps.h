// What tests of groups of fake renderers do with one. Test code of the rank layer.
#pragma once

#include <chrono>
#include <cstdlib>
#include <string>

#include "nightreel/base/clock.h"
#include "nightreel/base/json.h"
#include "nightreel/card/card.h"
#include "nightreel/job/job.h"
#include "nightreel/job/resolve.h"
#include "nightreel/rank/group_renderer.h"

namespace nightreel::test {

/// The next event of this type, or how the group died; a heartbeat more or less does not matter.
inline rank::RenderUnit::Event next_event(rank::GroupRenderer& group, const std::string& type) {
  const base::Stopwatch watch;
  while (watch.seconds() < 60) {
    auto event = group.poll(std::chrono::milliseconds(50));
    if (event && (!event->message || event->message->type == type)) return *event;
  }
  return {std::nullopt, "no " + type + " came"};
}

/// Has the group render a video of three steps into FOLDER/ID.mp4.
inline void send_render(rank::GroupRenderer& group, const std::string& folder, const std::string& id,
                        const std::string& prompt) {
  const auto card = card::read(std::string(std::getenv("NIGHTREEL_SOURCE_DIR")) + "/models/shapes");
  const base::Json spec{{"id", id},     {"prompt", prompt}, {"num_inference_steps", 3},
                        {"height", 16}, {"width", 16},      {"num_frames", 5}};
  protocol::RenderRequest request;
  request.job = id;
  request.token = 7;
  request.spec = spec;
  request.settings =
      job::resolve(job::parse_job(spec.dump(), {"/", ""}), card, job::recipe_for(card, job::RecipeChoice::automatic));
  request.video = folder + "/" + id + ".mp4";
  request.sheet = folder + "/" + id + ".jpg";
  group.send(protocol::encode(request));
}

}  // namespace nightreel::test
