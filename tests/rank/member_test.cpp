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
#include "rank/coming_up.h"
#include "rank/group_steps.h"
#include "support/comes.h"
#include "support/error.h"
#include "support/temp_folder.h"

using namespace nightreel;
using namespace std::chrono_literals;
using test::comes;
using test::contains;
using Kind = rank::MemberEnd::Kind;

namespace {

cluster::World* world = nullptr;

constexpr auto kLong = 100s;        // what only a hang reaches
constexpr double kSilence_s = 4.5;  // a rank that is well lets one second pass

// One on every rank, made and ended together.
struct Night {
  std::unique_ptr<test::TempFolder> own = world->rank() == 0 ? std::make_unique<test::TempFolder>() : nullptr;
  std::string folder = world->broadcast(own ? own->path() : "", 0, kLong, "the folder");
  std::unique_ptr<cluster::GroupLink> link = world->split({{0, 1, 2}}, kLong);
  rank::Signals signals{1h};
  rank::Renderer renderer{{{FAKE_RENDERER, folder}, log_of(world->rank()), 60, 60, nullptr}, base::Logger()};
  std::vector<std::string> pids = world->all_gather(std::to_string(::getpid()), kLong, "the processes");
  std::list<rank::RemoteRenderer> others;
  std::optional<rank::GroupRenderer> group;
  rank::Ask asked = rank::Ask::go_on;
  protocol::ReadyEvent ready;
  double silence_limit_s;

  /// In seconds without a sign of life: how long the first rank bears a member's, and members the first's.
  explicit Night(double member_s = 3600, double first_s = 3600) : silence_limit_s(first_s) {
    renderer.start();
    ready = rank::come_up(
        renderer, {}, [] { return false; }, base::Logger());
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
  ~Night() { world->all_gather("", kLong, "the end of the test"); }

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
  Night night(kSilence_s);
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

TEST_CASE("a silence that the first rank announces is borne; one that it does not ends its group, and it finds so") {
  Night night(3600, kSilence_s);
  if (world->rank() > 0) {
    const base::Stopwatch watch;
    const auto end = night.serve();
    CHECK(watch.seconds() > 2 * kSilence_s);
    CHECK(end.kind == Kind::left);
    CHECK(contains(end.why, "no sign of life of rank 0 for "));
    CHECK_FALSE(night.renderer.running());
    night.renderer.start();
    rank::come_up(
        night.renderer, {}, [] { return false; }, base::Logger());
    rank::GroupRenderer alone({{night.renderer, world->rank(), "alone"}}, {"store", ""}, night.ready, {},
                              base::Logger());
    CHECK(test::next_event(alone, "ready").message);
    const std::string id = "alone" + std::to_string(world->rank());
    test::send_render(alone, night.folder, id, "step_ms=1");
    CHECK(test::next_event(alone, "done").message);
    world->all_gather("", kLong, "the members' end");
    return;
  }
  CHECK(night.next("ready").message);
  night.group->expect_silence(1h);
  std::this_thread::sleep_for(std::chrono::duration<double>(kSilence_s + 0.5));  // longer than they would bear
  night.check_renders("still");
  CHECK(night.group->size() == 3);
  const base::Stopwatch watch;
  while (watch.seconds() < 1.5) night.group->poll(50ms);  // a usual sign goes out
  night.render("asleep", "at=denoise:1 do=stop who=1");   // so that it cannot end meanwhile
  CHECK(night.next("progress").message);
  world->all_gather("", kLong, "the members' end");  // it says nothing to its group until they have left it
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
    CHECK(watch.seconds() < 60);  // of 3600 that it would wait for a sign
    CHECK_FALSE(night.renderer.running());
    return;
  }
  CHECK(comes([&] { return night.group->poll(10ms), night.asked == rank::Ask::stop; }));
  night.group->kill();
}

int main(int argc, char** argv) {
  cluster::World the_world(kLong);
  world = &the_world;
  const int failed = doctest::Context(argc, argv).run();
  return the_world.agree_exit_code(failed == 0 ? 0 : 1, kLong);
}
