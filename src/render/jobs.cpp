#include "render/jobs.h"

#include <ATen/ATen.h>

namespace nightreel::render {

void Jobs::add(const Work& work) {
  const std::lock_guard lock(mutex_);
  in_hand_[work.request.job] = work.cancel;
}

void Jobs::cancel(const std::string& job) {
  const std::lock_guard lock(mutex_);
  const auto found = in_hand_.find(job);
  if (found != in_hand_.end()) found->second.cancel();
}

void Jobs::cancel_all() {
  const std::lock_guard lock(mutex_);
  for (const auto& [job, token] : in_hand_) token.cancel();
}

void Jobs::stop(const std::string& job) {
  const std::lock_guard lock(mutex_);
  to_stop_.insert(job);
}

bool Jobs::stop_asked(const std::string& job) {
  const std::lock_guard lock(mutex_);
  return to_stop_.count(job) > 0;
}

void Jobs::forget(const std::string& job) {
  const std::lock_guard lock(mutex_);
  in_hand_.erase(job);
  to_stop_.erase(job);
}

RenderObserver Jobs::observer_for(const Work& work) {
  RenderObserver observer;
  const auto& request = work.request;
  observer.progress = [this, &request](const std::string& stage, std::int64_t step, std::int64_t steps) {
    events_.send(protocol::encode(protocol::ProgressEvent{request.job, request.token, stage, step, steps}));
  };
  observer.stop_asked = [this, &request] { return stop_asked(request.job); };
  observer.saved = [this, &request](std::int64_t step) {
    events_.send(protocol::encode(protocol::CheckpointEvent{request.job, request.token, step}));
  };
  observer.cancel = work.cancel;
  return observer;
}

void Jobs::done(const Finished& finished) {
  const auto& request = finished.work.request;
  const Rendered& video = finished.rendered;
  forget(request.job);
  const auto& frames = video.frames_FHW3;
  events_.send(protocol::encode(protocol::DoneEvent{request.job, request.token, frames.size(0), frames.size(1),
                                                    frames.size(2), video.resumed_step, video.timings,
                                                    video.unused_keys, video.lora_digests, video.plan}));
}

void Jobs::fail(const protocol::RenderRequest& request, const std::exception& thrown) {
  forget(request.job);
  events_.fail(request.job, request.token, thrown);
}

}  // namespace nightreel::render
