// Groups of fake renderers, all of this process: how they form, what each is told, whom they die of.
#include "nightreel/rank/group_renderer.h"

#include <doctest/doctest.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <list>

#include "nightreel/base/file.h"
#include "nightreel/rank/renderer.h"
#include "rank/coming_up.h"
#include "rank/group_steps.h"
#include "support/error.h"
#include "support/temp_folder.h"

using namespace nightreel;
using namespace std::chrono_literals;
using test::contains;

namespace {

struct Group {
  test::TempFolder folder;
  std::list<rank::Renderer> renderers;
  rank::GroupLimits limits;
  std::optional<rank::GroupRenderer> group;

  // Members 0, 1, …; a member's log is FOLDER/K.log. The limits: no machine is so busy that they are reached.
  void form(std::size_t size, double loading_limit_s = 60, double silence_limit_s = 60) {
    limits.loading_s = loading_limit_s;
    std::vector<rank::GroupRenderer::Member> members;
    protocol::ReadyEvent ready;
    for (std::size_t at = 0; at < size; ++at) {
      const std::string log = folder / (std::to_string(at) + ".log");
      renderers.emplace_back(
          rank::RendererCommand{{FAKE_RENDERER, folder.path()}, log, loading_limit_s, silence_limit_s, nullptr},
          base::Logger());
      renderers.back().start();
      ready = rank::come_up(
          renderers.back(), {}, [] { return false; }, base::Logger());
      members.push_back({renderers.back(), static_cast<int>(at), "rank " + std::to_string(at)});
    }
    group.emplace(members, rank::Meeting{"store", ""}, ready, limits, base::Logger());
  }
  rank::Renderer& renderer(int at) { return *std::next(renderers.begin(), at); }

  rank::RenderUnit::Event next(const std::string& type) { return test::next_event(*group, type); }
  void render(const std::string& id, const std::string& prompt) {
    test::send_render(*group, folder.path(), id, prompt);
  }
  void check_renders(const std::string& id) {
    render(id, "step_ms=1");
    const auto done = next("done");
    CAPTURE(done.died);
    REQUIRE(done.message);
    CHECK(done.message->text("job") == id);
    CHECK(std::filesystem::exists(folder / (id + ".mp4")));
  }
  void write(const std::string& name, const std::string& text) { std::ofstream(folder / name) << text; }
  /// Where groups have met.
  std::size_t meetings() const {
    std::size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
      count += entry.path().filename().string().rfind("fake-", 0) == 0 ? 1U : 0U;
    }
    return count;
  }
};

}  // namespace

TEST_CASE_FIXTURE(Group, "a group says ready once all have joined, and its first member alone writes") {
  form(3);
  CHECK_FALSE(group->ready());
  CHECK(group->ranks() == std::vector{0, 1, 2});
  const auto ready = next("ready");
  REQUIRE(ready.message);
  CHECK(protocol::ready_event(*ready.message).model_digest == "m1");
  CHECK(group->ready());
  check_renders("one");
  check_renders("two");
  group->kill();
  CHECK_FALSE(group->running());
  for (auto& one : renderers) CHECK_FALSE(one.running());
}

TEST_CASE_FIXTURE(Group, "a group dies of any of its renderers, is told by its name, and forms anew elsewhere") {
  form(3);
  REQUIRE(next("ready").message);
  for (const int who : {0, 1, 2}) {
    CAPTURE(who);
    render("job" + std::to_string(who), "at=denoise:1 do=kill who=" + std::to_string(who));
    const auto died = next("done");
    CHECK_FALSE(died.message);
    CHECK(contains(died.died, "the renderer of rank " + std::to_string(who) + ": "));
    CHECK(contains(died.died, "signal 9"));
    CHECK(group->log_file() == folder / (std::to_string(who) + ".log"));
    CHECK(group->last_words() == "last words");
    for (auto& one : renderers) CHECK_FALSE(one.running());
    REQUIRE(group->may_start());
    group->start();
    REQUIRE(next("ready").message);
    check_renders("after" + std::to_string(who));
  }
  CHECK(meetings() == 4);
  CHECK(group->size() == 3);
}

TEST_CASE_FIXTURE(Group, "a member that is frozen is who the group dies of") {
  form(2, 60, 4);
  REQUIRE(next("ready").message);
  render("frozen", "at=denoise:1 do=stop who=1");
  const auto died = next("done");
  CHECK_FALSE(died.message);
  CHECK(contains(died.died, "the renderer of rank 1: hung: no event for "));
  group->start();
  REQUIRE(next("ready").message);
  check_renders("after");
}

TEST_CASE_FIXTURE(Group, "a renderer that dies when it shall join is who the group dies of") {
  write("join.kill", "1");
  form(2);
  const auto died = next("ready");
  CHECK_FALSE(died.message);
  CHECK(contains(died.died, "rank 1: "));
  group->start();
  CHECK(next("ready").message);
}

TEST_CASE_FIXTURE(Group, "a renderer that has lost the others is who the group dies of, where nobody else died") {
  limits.settle_s = 0.1;
  form(2);
  REQUIRE(next("ready").message);
  render("lost", "at=denoise:1 do=fail:comm");
  const auto died = next("done");
  CHECK_FALSE(died.message);
  INFO(died.died);
  CHECK(contains(died.died, "the renderer of rank 0: as the prompt says"));
}

TEST_CASE_FIXTURE(Group, "a group that dies of a member without memory starts anew with less on all") {
  form(3);
  REQUIRE(next("ready").message);
  render("large", "at=denoise:1 do=oom:decode=1000 who=1");
  const auto died = next("done");
  CHECK_FALSE(died.message);
  CHECK(contains(died.died, "the renderer of rank 1: as the prompt says"));
  group->start();
  REQUIRE(next("ready").message);
  const std::string less = "--memory-failed decode=1000 \n";
  CHECK(base::read_file(folder / "started", 1000) == "\n\n\n" + less + less + less);
  check_renders("after");
}

TEST_CASE_FIXTURE(Group, "of one that has lost the others and one that died, the dead one is named") {
  limits.settle_s = 3600;
  form(2);
  REQUIRE(next("ready").message);
  render("lost", "at=denoise:1 do=fail:comm");
  ::kill(renderer(1).pid(), SIGKILL);
  const auto died = next("done");
  CHECK_FALSE(died.message);
  CHECK(contains(died.died, "the renderer of rank 1: "));
}

TEST_CASE_FIXTURE(Group, "a member that the group dies of again and again is left out, down to one alone") {
  form(3);
  REQUIRE(next("ready").message);
  for (const int who : {1, 2}) {
    for (int times = 0; times < 2; ++times) {
      ::kill(renderer(who).pid(), SIGKILL);
      CHECK(contains(next("done").died, "rank " + std::to_string(who)));
      group->start();
      REQUIRE(next("ready").message);
    }
    group->kill();
    CHECK(group->shrink());
    CHECK(group->size() == 3 - who);
    CHECK(group->losses().size() == static_cast<std::size_t>(who));
    CHECK(contains(group->losses().back(), "rank " + std::to_string(who) + ": the group died of its renderer "));
    group->start();
    REQUIRE(next("ready").message);
    CHECK_FALSE(renderer(who).running());
    check_renders("without" + std::to_string(who));
  }
  CHECK_FALSE(group->shrink());
}

TEST_CASE_FIXTURE(Group, "the first one's renderer may be who is left out: the others are who renders") {
  form(3);
  REQUIRE(next("ready").message);
  ::kill(renderer(0).pid(), SIGKILL);
  CHECK(contains(next("done").died, "rank 0"));
  CHECK(group->shrink());
  CHECK(group->ranks() == std::vector{1, 2});
  group->start();
  REQUIRE(next("ready").message);
  check_renders("without");
}

TEST_CASE_FIXTURE(Group, "a member whose renderer does not come up within its limit is left out") {
  form(2, 4);
  REQUIRE(next("ready").message);
  write("load.hang", "1");
  group->kill();
  group->start();
  const auto died = next("ready");
  CHECK_FALSE(died.message);
  CHECK(contains(died.died, "of loading"));
  CHECK(group->size() == 1);
  group->start();
  REQUIRE(next("ready").message);
  check_renders("alone");
}

TEST_CASE_FIXTURE(Group, "a cancelled video leaves the group standing") {
  form(2);
  REQUIRE(next("ready").message);
  render("long", "until=never");
  REQUIRE(next("progress").message);
  group->send(protocol::encode_plain("cancel", {{"job", "long"}, {"token", 7}}));
  const auto failed = next("failed");
  REQUIRE(failed.message);
  CHECK(protocol::failed_event(*failed.message).kind == base::ErrorKind::interrupted);
  check_renders("next");
}

TEST_CASE_FIXTURE(Group, "another model than the run's is told as its renderer says it") {
  form(2);
  REQUIRE(next("ready").message);
  write("digest", "m2");
  group->kill();
  group->start();
  const auto ready = next("ready");
  REQUIRE(ready.message);
  CHECK(protocol::ready_event(*ready.message).model_digest == "m2");
  CHECK_FALSE(group->ready());
}
