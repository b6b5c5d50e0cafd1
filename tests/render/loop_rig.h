// The thread that renders with all that it is connected to, alone or as one of a group of such threads; and a member of
// a group whose other member is played by the test.
#pragma once

#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "render/fake_maker.h"
#include "render/group.h"
#include "render/render_loop.h"
#include "render/support.h"

namespace nightreel::test {

/// Rank 0's beat as short as a test wants it, and all that somebody is waited for as long as only a hang takes.
inline render::Limits rig_limits() {
  using std::chrono::milliseconds;
  return {milliseconds(10), milliseconds(10), milliseconds(10), milliseconds(5), kHang, kHang};
}

struct LoopRig {
  Wire wire;
  render::Events events{wire.in()};
  render::Jobs jobs{events};
  render::Handover<render::Task> to_render;
  render::Handover<render::Finished> to_write;
  std::unique_ptr<comm::Rendezvous> rendezvous;
  FakeMaker maker;
  render::RenderLoop loop;
  Heard heard{wire.out()};

  explicit LoopRig(const render::Limits& limits = rig_limits())
      : loop({maker, rendezvous, events, jobs, to_render, to_write}, limits) {}
  LoopRig(const LoopRig&) = delete;
  LoopRig& operator=(const LoopRig&) = delete;
  ~LoopRig() {
    let_go();
    if (thread_.joinable()) thread_.join();
  }

  void give(const std::string& job, std::uint64_t token = 1, const std::exception_ptr& problem = nullptr) {
    render::Work work;
    work.request = request_for(job, token);
    work.prepared.inputs_hash = "of " + job;
    work.problem = problem;
    jobs.add(work);
    to_render.put(std::move(work));
  }
  /// The next video that is handed over. Throws std::runtime_error after kHang.
  render::Finished take() {
    auto finished = to_write.take_wanted([](const render::Finished&) { return true; }, kHang);
    if (!finished) throw std::runtime_error("no video was handed over");
    return std::move(*finished);
  }
  void start() {
    thread_ = std::thread([this] {
      thrown_ = thrown_text([this] { loop.run(); });
      ended_.add("ended");
    });
  }
  /// What run() threw once it has ended of itself. Throws std::runtime_error after kHang.
  std::string outcome() {
    ended_.wait_for("ended");
    thread_.join();
    return thrown_;
  }
  std::string end() {
    to_render.close();
    return outcome();
  }
  /// All events, after the end.
  const std::vector<protocol::Json>& said() {
    wire.close_in();
    return heard.to_the_end();
  }
  void let_go() {
    jobs.cancel_all();
    to_render.close();
    to_write.close();
  }

 private:
  std::thread thread_;
  std::string thrown_;
  Diary ended_;
};

/// Threads that have met, of which each has its own maker.
struct GroupRig {
  std::unique_ptr<comm::Rendezvous> rendezvous = comm::make_store_rendezvous("127.0.0.1");
  std::vector<std::unique_ptr<LoopRig>> members;

  /// `prepare`: called with each member and its rank before it starts.
  explicit GroupRig(int size, const std::function<void(LoopRig&, int)>& prepare = {},
                    const render::Limits& limits = rig_limits()) {
    for (int rank = 0; rank < size; ++rank) {
      members.push_back(std::make_unique<LoopRig>(limits));
      if (prepare) prepare(*members.back(), rank);
      members.back()->to_render.put(render::Seat{seat_at(rendezvous->address(), rank, size), nullptr});
      members.back()->start();
    }
    for (const auto& member : members) member->heard.wait_for({{"type", "rendezvous"}, {"joined", true}});
  }
  GroupRig(const GroupRig&) = delete;
  GroupRig& operator=(const GroupRig&) = delete;
  ~GroupRig() {
    for (const auto& member : members) member->let_go();
    lose();
  }

  LoopRig& first() { return *members.front(); }
  LoopRig& last() { return *members.back(); }
  /// Rank 0 last, so that it decides when all have the job.
  void give(const std::string& job, std::uint64_t token = 1) {
    for (auto member = members.rbegin(); member != members.rend(); ++member) (*member)->give(job, token);
  }
  /// The next video of each member: its job and the file that is to be written.
  std::vector<std::string> take() {
    std::vector<std::string> taken;
    for (const auto& member : members) {
      const protocol::RenderRequest request = member->take().work.request;
      taken.push_back(request.job + ">" + request.video);
    }
    return taken;
  }
  /// The message of the event that each member says of the job's end.
  std::vector<std::string> why_failed(const std::string& job, const std::string& kind) {
    std::vector<std::string> why;
    for (const auto& member : members) {
      why.push_back(member->heard.wait_for({{"type", "failed"}, {"job", job}, {"kind", kind}}).at("message"));
    }
    return why;
  }
  std::vector<std::string> end() {
    for (const auto& member : members) member->to_render.close();
    std::vector<std::string> outcomes;
    for (const auto& member : members) outcomes.push_back(member->outcome());
    return outcomes;
  }
  /// As if rank 0's process were gone: what they meet at is closed.
  void lose() { rendezvous.reset(); }
};

/// A thread that renders as `rank` of two; the other one is the test.
struct PlayedRig {
  std::unique_ptr<comm::Rendezvous> rendezvous = comm::make_store_rendezvous("127.0.0.1");
  LoopRig real;
  std::unique_ptr<comm::Communicator> group;
  std::unique_ptr<render::Agreement> agreement;

  explicit PlayedRig(int rank, const render::Limits& limits = rig_limits()) : real(limits) {
    real.to_render.put(render::Seat{seat_at(rendezvous->address(), rank, 2), nullptr});
    real.start();
    group = render::join_group(seat_at(rendezvous->address(), 1 - rank, 2));
    real.heard.wait_for({{"type", "rendezvous"}, {"joined", true}});
    agreement = std::make_unique<render::Agreement>(*group, at::kCPU, kHang);
  }
  PlayedRig(const PlayedRig&) = delete;
  PlayedRig& operator=(const PlayedRig&) = delete;
  ~PlayedRig() {
    real.let_go();
    rendezvous.reset();
  }

  /// What rank 0 wants done, as "VERB JOB"; its waits are passed over.
  std::string order() {
    for (;;) {
      const render::Order order = agreement->hear();
      if (order.verb == render::Order::Verb::wait) continue;
      const char* const names[] = {"wait", "render ", "begin ", "finish ", "end"};
      return names[static_cast<int>(order.verb)] + order.job;
    }
  }
  /// The other half of what a FakeMaker's render(), begin() or finish() and the loop before it agree on.
  void agree() {
    agreement->together([] {});
    agreement->together([] {});
  }
};

}  // namespace nightreel::test
