// A group over three ranks of MPI with fake renderers: the first rank leads, the others are members.
#define DOCTEST_CONFIG_IMPLEMENT
#include "nightreel/rank/member.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <list>
#include <memory>
#include <thread>

#include "nightreel/base/error.h"
#include "nightreel/rank/group_renderer.h"
#include "nightreel/rank/remote_renderer.h"
#include "rank/group_steps.h"
#include "support/error.h"
#include "support/temp_folder.h"

using namespace nightreel;
using namespace std::chrono_literals;
using test::contains;
using Kind = rank::MemberEnd::Kind;

namespace {

cluster::World* world = nullptr;

template <typename Condition>
bool comes(Condition condition) {
  const base::Stopwatch watch;
  while (!condition() && watch.seconds() < 20) std::this_thread::sleep_for(5ms);
  return condition();
}

// One on every rank, made and ended together.
struct Night {
  std::unique_ptr<test::TempFolder> own = world->rank() == 0 ? std::make_unique<test::TempFolder>() : nullptr;
  std::string folder = world->broadcast(own ? own->path() : "", 0, 20s, "the folder");
  std::unique_ptr<cluster::GroupLink> link = world->split({{0, 1, 2}}, 20s);
  rank::Signals signals{1h};
  rank::Renderer renderer{{{FAKE_RENDERER, folder}, log_of(world->rank()), 20, 20, nullptr}, base::Logger()};
  std::vector<std::string> pids = world->all_gather(std::to_string(::getpid()), 20s, "the processes");
  std::list<rank::RemoteRenderer> others;
  std::optional<rank::GroupRenderer> group;
  rank::Ask asked = rank::Ask::go_on;
  protocol::ReadyEvent ready;
  double silence_limit_s;

  /// In seconds without a sign of life: how long the first rank bears a member's, and members the first's.
  explicit Night(double member_s = 60, double first_s = 60) : silence_limit_s(first_s) {
    renderer.start();
    ready = renderer.wait_ready([] { return false; });
    if (world->rank() > 0) return;
    std::vector<rank::GroupRenderer::Member> members{{renderer, 0, "rank 0"}};
    for (const int at : {1, 2}) {
      const std::string name = "rank " + std::to_string(at);
      others.emplace_back(*link, rank::RemoteRank{static_cast<std::size_t>(at), name, log_of(at), member_s},
                          [this](rank::Ask what) { asked = what; });
      members.push_back({others.back(), at, name});
    }
    group.emplace(members, rank::Meeting{"store", ""}, ready, rank::GroupLimits(), base::Logger());
  }
  ~Night() { world->all_gather("", 20s, "the end of the test"); }

  std::string log_of(int rank) const { return folder + "/" + std::to_string(rank) + ".log"; }
  rank::MemberEnd serve() {
    return rank::Member(*link, {"rank 0", silence_limit_s}, renderer, signals, base::Logger()).serve();
  }
  void end() {
    group->kill();
    for (auto& one : others) one.end();
  }
  rank::RenderUnit::Event next(const std::string& type) { return test::next_event(*group, type); }
  void render(const std::string& id, const std::string& prompt) { test::send_render(*group, folder, id, prompt); }
  void check_renders(const std::string& id) {
    render(id, "step_ms=1");
    const auto done = next("done");
    CAPTURE(done.died);
    CHECK(done.message);
    CHECK(std::filesystem::exists(folder + "/" + id + ".mp4"));
  }
};

}  // namespace

TEST_CASE("a group over ranks renders, dies of a member's renderer with its last words, and forms anew") {
  Night night;
  if (world->rank() > 0) {
    CHECK(night.serve().kind == Kind::over);
    CHECK_FALSE(night.renderer.running());
    return;
  }
  CHECK(night.next("ready").message);
  night.check_renders("one");
  night.render("killed", "at=denoise:1 do=kill who=2");
  const auto died = night.next("done");
  CHECK_FALSE(died.message);
  CHECK(contains(died.died, "the renderer of rank 2: "));
  CHECK(contains(died.died, "signal 9"));
  CHECK(night.group->last_words() == "last words");
  CHECK(night.group->log_file() == night.log_of(2));
  night.group->start();
  CHECK(night.next("ready").message);
  night.check_renders("two");
  CHECK(night.group->size() == 3);
  night.end();
}

TEST_CASE("a rank that is frozen is out; the others go on, and it learns so when it wakes") {
  Night night(6);
  if (world->rank() > 0) {
    const auto end = night.serve();
    CHECK(contains(end.why, world->rank() == 1 ? "no sign of life" : ""));
    CHECK(end.kind == (world->rank() == 1 ? Kind::out : Kind::over));
    CHECK_FALSE(night.renderer.running());
    return;
  }
  const pid_t frozen = std::stoi(night.pids.at(1));
  CHECK(night.next("ready").message);
  ::kill(frozen, SIGSTOP);
  const auto died = night.next("done");
  CHECK_FALSE(died.message);
  CHECK(contains(died.died, "the renderer of rank 1: no sign of life of its rank for "));
  CHECK(night.group->size() == 2);
  night.group->start();
  CHECK(night.next("ready").message);
  night.check_renders("without");
  ::kill(frozen, SIGCONT);
  night.check_renders("still");
  night.end();
}

TEST_CASE("a first rank that is silent is left: members render alone, and it finds its group gone") {
  Night night(60, 6);
  if (world->rank() > 0) {
    const auto end = night.serve();
    CHECK(end.kind == Kind::left);
    CHECK(contains(end.why, "no sign of life of rank 0 for "));
    CHECK_FALSE(night.renderer.running());
    night.renderer.start();
    night.renderer.wait_ready([] { return false; });
    rank::GroupRenderer alone({{night.renderer, world->rank(), "alone"}}, {"store", ""}, night.ready, {},
                              base::Logger());
    CHECK(test::next_event(alone, "ready").message);
    const std::string id = "alone" + std::to_string(world->rank());
    test::send_render(alone, night.folder, id, "step_ms=1");
    CHECK(test::next_event(alone, "done").message);
    world->all_gather("", 60s, "the members' end");
    return;
  }
  CHECK(night.next("ready").message);
  night.render("asleep", "at=denoise:1 do=stop who=1");  // so that it cannot end meanwhile
  CHECK(night.next("progress").message);
  world->all_gather("", 60s, "the members' end");  // it says nothing to its group until they have left it
  CHECK(std::filesystem::exists(night.folder + "/alone1.mp4"));
  CHECK(std::filesystem::exists(night.folder + "/alone2.mp4"));
  const auto died = night.next("done");
  CHECK_FALSE(died.message);
  CHECK(contains(died.died, "its rank has left the group: no sign of life of rank 0 for "));
  CHECK_FALSE(night.renderer.running());
  CHECK(comes([&] { return night.group->poll(10ms), night.group->size() == 1; }));
  CHECK(night.group->losses().size() == 2);
  CHECK(night.group->may_start());
  night.group->start();
  CHECK(night.next("ready").message);
  night.check_renders("alone0");
  night.end();
}

TEST_CASE("members bear a silence that the first rank has announced, and are rid of it by its next sign") {
  Night night(60, 6);
  if (world->rank() > 0) {
    CHECK(night.serve().kind == Kind::left);
    world->all_gather("", 60s, "the members' end");
    return;
  }
  CHECK(night.next("ready").message);
  night.group->expect_silence(1h);
  std::this_thread::sleep_for(9s);
  night.check_renders("still");
  CHECK(night.group->size() == 3);
  const base::Stopwatch watch;
  while (watch.seconds() < 1.5) night.group->poll(50ms);  // a usual sign goes out
  world->all_gather("", 60s, "the members' end");
}

TEST_CASE("what a signal asks of a member, the first rank learns") {
  Night night;
  if (world->rank() > 0) {
    if (world->rank() == 2) night.signals.ask(rank::Ask::finish);
    CHECK(night.serve().kind == Kind::over);
    return;
  }
  CHECK(comes([&] { return night.group->poll(10ms), night.asked == rank::Ask::finish; }));
  night.end();
}

TEST_CASE("a member that is asked to stop waits for the first rank no longer than a moment") {
  Night night;
  if (world->rank() > 0) {
    const base::Stopwatch watch;
    night.signals.ask(rank::Ask::stop);
    CHECK(night.serve().kind == Kind::over);
    CHECK(watch.seconds() < 20);
    CHECK_FALSE(night.renderer.running());
    return;
  }
  CHECK(comes([&] { return night.group->poll(10ms), night.asked == rank::Ask::stop; }));
  night.group->kill();
}

int main(int argc, char** argv) {
  cluster::World the_world(std::chrono::seconds(30));
  world = &the_world;
  const int failed = doctest::Context(argc, argv).run();
  return the_world.agree_exit_code(failed == 0 ? 0 : 1, std::chrono::seconds(30));
}
