#include "render/render_loop.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "nightreel/base/clock.h"
#include "nightreel/base/error.h"
#include "render/group.h"

namespace nightreel::render {
namespace {

using base::Error;
using base::ErrorKind;
using std::chrono::milliseconds;

}  // namespace

void RenderLoop::run() {
  while (auto task = next()) {
    is_work(*task) ? render_next(std::get<Work>(std::move(*task))) : join(std::get<Seat>(std::move(*task)));
    if (agreement_ != nullptr && !agreement_->leads()) return follow();
  }
  if (agreement_ == nullptr) return;
  agreement_->tell({Order::Verb::end, "", 0});
  part();
}

// Rank 0 of a group lets the others know that there is nothing yet.
std::optional<Task> RenderLoop::next() {
  if (agreement_ == nullptr) return to_render_.take();
  for (;;) {
    auto task = to_render_.take_wanted(is_work, limits_.beat);
    if (task || to_render_.closed()) return task;
    agreement_->tell({});
  }
}

void RenderLoop::join(Seat seat) {
  try {
    auto group = join_group(seat.request);
    agreement_ = maker_.share(std::move(group), milliseconds(seat.request.deadline_ms));
    rendezvous_ = std::move(seat.rendezvous);
    events_.send(protocol::encode(protocol::RendezvousEvent{seat.request.address, true}));
  } catch (const std::exception& e) {
    in_group_ = false;
    const auto [kind, why] = explain(e);
    events_.fail("", 0, kind, why);
  }
}

// The life of a member that is not rank 0.
void RenderLoop::follow() {
  std::vector<HalfDone> begun;
  std::optional<base::Stopwatch> closing;
  for (;;) {
    const Order order = heard();
    if (order.verb == Order::Verb::end) break;
    if (order.verb == Order::Verb::wait) {
      if (to_render_.closed() && !closing) closing.emplace();
      if (closing && closing->seconds() > std::chrono::duration<double>(limits_.patience).count()) return;
      to_render_.wait_for_any(limits_.rest);  // not in a collective, which would keep a GPU busy
    }
    if (order.verb == Order::Verb::render) render(requested(order));
    if (order.verb == Order::Verb::begin) begin(requested(order), begun);
    if (order.verb == Order::Verb::finish) finish(half_done(begun, order));
  }
  part();
  if (!to_render_.wait_closed(limits_.patience)) throw Error(ErrorKind::comm, "rank 0 has left the group");
}

// Rank 0 goes when all have heard that it is over: what they meet at is in its process. Who is missing by now, or has
// heard of the end by losing the group, is missed by nobody.
void RenderLoop::part() {
  agreement_ = nullptr;
  try {
    maker_.share(nullptr, milliseconds(0));
  } catch (const std::exception&) {
  }
}

// To who is slow the closing of rank 0's connection may be all that is left to hear of the group's end.
Order RenderLoop::heard() {
  try {
    return agreement_->hear();
  } catch (const Error&) {
    if (to_render_.wait_closed(limits_.farewell)) return {Order::Verb::end, "", 0};
    throw;
  }
}

Work RenderLoop::requested(const Order& order) {
  const milliseconds limit = agreement_->deadline() / 2;  // in time for the others, who wait
  auto task = to_render_.take_wanted(
      [&](const Task& one) { return is_work(one) && is_about(std::get<Work>(one).request, order); }, limit);
  if (task) return std::get<Work>(std::move(*task));
  Work unknown;
  unknown.request.job = order.job;
  unknown.request.token = order.token;
  const std::string why = "was not told of the job within " + std::to_string(limit.count()) + " ms";
  unknown.problem = std::make_exception_ptr(Error(ErrorKind::renderer, why));
  return unknown;
}

RenderLoop::HalfDone RenderLoop::half_done(std::vector<HalfDone>& begun, const Order& order) {
  const auto found =
      std::find_if(begun.begin(), begun.end(), [&](const HalfDone& one) { return is_about(one.work.request, order); });
  if (found == begun.end()) throw Error(ErrorKind::internal, "finish: " + order.job + " was not begun here");
  HalfDone half = std::move(*found);
  begun.erase(found);
  return half;
}

void RenderLoop::render_next(Work work) {
  maker_.plan_with(work.request.memory);
  const auto size = static_cast<std::size_t>(maker_.wave(work.request.settings));
  size > 1 ? render_wave(std::move(work), size) : render(std::move(work));
}

// What all members do next: rank 0 tells, the others have just heard it.
void RenderLoop::tell(Order::Verb verb, const Work& work) {
  if (agreement_ != nullptr && agreement_->leads()) agreement_->tell({verb, work.request.job, work.request.token});
}

// Throws, in a group on all members, where one of them cannot do it or is not to.
void RenderLoop::require(const Work& work, const std::exception_ptr& problem) {
  const auto look = [&] {
    if (problem) std::rethrow_exception(problem);
    work.cancel.throw_if_cancelled();
  };
  agreement_ != nullptr ? agreement_->together(look) : look();
}

// While `work` lives.
Video RenderLoop::video_of(const Work& work) {
  const auto& request = work.request;
  return {request.settings,
          work.prepared,
          {request.checkpoint, request.checkpoint_every, request.hash},
          jobs_.observer_for(work)};
}

void RenderLoop::render(Work work) {
  maker_.plan_with(work.request.memory);
  tell(Order::Verb::render, work);
  try {
    require(work, work.problem);
    Rendered rendered = maker_.render(video_of(work));
    hand_over(std::move(work), std::move(rendered));
  } catch (const std::exception& e) {
    fail_here(work.request, e);
  }
}

// Whatever waits by the time an expert has done its steps joins, up to `size`.
void RenderLoop::render_wave(Work first, std::size_t size) {
  std::vector<HalfDone> wave;
  begin(std::move(first), wave);
  while (wave.size() < size) {
    auto next = to_render_.take_now(is_work);
    if (!next) break;
    begin(std::get<Work>(std::move(*next)), wave);
  }
  for (HalfDone& one : wave) finish(std::move(one));
}

void RenderLoop::begin(Work work, std::vector<HalfDone>& wave) {
  maker_.plan_with(work.request.memory);
  tell(Order::Verb::begin, work);
  try {
    require(work, work.problem);
    Begun begun = maker_.begin(video_of(work));
    wave.push_back({std::move(work), std::move(begun)});
  } catch (const std::exception& e) {
    fail_here(work.request, e);
  }
}

void RenderLoop::finish(HalfDone half) {
  Work& work = half.work;
  tell(Order::Verb::finish, work);
  try {
    require(work, half.begun.unsaved);
    Rendered rendered = maker_.finish(video_of(work), std::move(half.begun));
    hand_over(std::move(work), std::move(rendered));
  } catch (const std::exception& e) {
    fail_here(work.request, e);
  }
}

void RenderLoop::hand_over(Work work, Rendered rendered) {
  if (agreement_ != nullptr && !agreement_->leads()) {  // rank 0 writes for all
    for (std::string* file : {&work.request.video, &work.request.sheet, &work.request.archive}) file->clear();
  }
  std::exception_ptr lost;  // a video that is done is written, whatever becomes of the group
  try {
    while (!to_write_.wait_empty(limits_.beat)) tell(Order::Verb::wait, {});
  } catch (const Error&) {
    lost = std::current_exception();
  }
  to_write_.put({std::move(work), std::move(rendered)});
  if (lost) std::rethrow_exception(lost);
}

// From where it was caught: rethrows what the group cannot go on after.
void RenderLoop::fail_here(const protocol::RenderRequest& request, const std::exception& thrown) {
  if (agreement_ != nullptr && !Agreement::in_step(thrown)) throw;
  jobs_.fail(request, thrown);
}

}  // namespace nightreel::render
