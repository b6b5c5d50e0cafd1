// The threads that render a video together: rank 0 leads, the others follow. A store on loopback is between them.
#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include "nightreel/base/clock.h"
#include "nightreel/base/error.h"
#include "render/loop_rig.h"

using namespace nightreel;
using base::Error;
using base::ErrorKind;
using render::Limits;
using render::Order;
using std::chrono::milliseconds;
using test::FakeMaker;
using test::GroupRig;
using test::LoopRig;
using test::PlayedRig;
using Said = std::vector<std::string>;

namespace {

std::exception_ptr missing_lora() {
  return std::make_exception_ptr(Error(ErrorKind::job, "missing.safetensors: no such file"));
}

Limits without(milliseconds Limits::*one) {
  Limits limits = test::rig_limits();
  limits.*one = milliseconds(0);
  return limits;
}

}  // namespace

TEST_CASE("the product's limits fit each other, and the shortest deadline that a rank gives a group") {
  const Limits limits;
  CHECK(limits.rest < limits.beat);
  CHECK(limits.beat + limits.rest < milliseconds(10000));
  CHECK(limits.look < limits.heartbeat);
}

TEST_CASE("all members render what rank 0 says, in its order, and rank 0 alone has files to write") {
  for (const int size : {2, 3}) {
    CAPTURE(size);
    GroupRig group(size);
    LoopRig& last = group.last();
    last.give("b", 2);  // told in another order, and earlier
    last.give("a", 1);
    for (int rank = size - 2; rank >= 0; --rank) {
      group.members[static_cast<std::size_t>(rank)]->give("a", 1);
      group.members[static_cast<std::size_t>(rank)]->give("b", 2);
    }
    for (const std::string job : {"a", "b"}) {
      Said expected(static_cast<std::size_t>(size), job + ">");
      expected.front() += job + ".mp4";
      CHECK(group.take() == expected);
    }
    CHECK(group.end() == Said(static_cast<std::size_t>(size)));
    for (const auto& member : group.members) CHECK(member->maker.diary->all("render") == Said{"render a", "render b"});
  }
}

TEST_CASE("the others are given no sheet and no archive to write either") {
  GroupRig group(2);
  group.give("a");
  const auto led = group.first().take();
  const auto followed = group.last().take();
  CHECK(led.work.request.sheet + led.work.request.archive == "a.jpga.h5");
  CHECK(followed.work.request.sheet + followed.work.request.archive == "");
  CHECK(group.end() == Said(2));
}

TEST_CASE("while there is nothing to do rank 0 says so, again and again; in the end all part in good order") {
  PlayedRig two(0);
  for (int i = 0; i < 3; ++i) CHECK(two.agreement->hear().verb == Order::Verb::wait);
  two.real.give("a");
  REQUIRE(two.order() == "render a");
  two.agree();
  CHECK(two.real.take().work.request.job == "a");
  two.real.to_render.close();
  REQUIRE(two.order() == "end");
  two.group->finalize();  // rank 0 does so, too
  CHECK(two.real.outcome() == "");
  CHECK(two.real.maker.diary->has("part"));
}

TEST_CASE("while a video waits to be written rank 0 says so, renders the next one, and no third") {
  PlayedRig two(0);
  for (const char* job : {"a", "b", "c"}) two.real.give(job);
  for (const char* order : {"render a", "render b"}) {
    REQUIRE(two.order() == order);
    two.agree();
  }
  for (int i = 0; i < 3; ++i) REQUIRE(two.agreement->hear().verb == Order::Verb::wait);
  CHECK_FALSE(two.real.maker.diary->has("render c"));
  CHECK(two.real.take().work.request.job == "a");
  REQUIRE(two.order() == "render c");
  CHECK(two.real.take().work.request.job == "b");
  two.agree();
  two.real.to_render.close();
  REQUIRE(two.order() == "end");
  two.group->finalize();
  CHECK(two.real.take().work.request.job == "c");
  CHECK(two.real.outcome() == "");
}

TEST_CASE("a video that is done is written, whatever becomes of the group meanwhile") {
  PlayedRig two(0);
  for (const char* job : {"a", "b"}) {
    two.real.give(job);
    REQUIRE(two.order() == std::string("render ") + job);
    two.agree();
  }
  REQUIRE(two.agreement->hear().verb == Order::Verb::wait);
  two.rendezvous.reset();
  CHECK(two.real.outcome().rfind("comm: ", 0) == 0);
  CHECK(two.real.take().work.request.job == "a");
  CHECK(two.real.take().work.request.job == "b");
}

TEST_CASE("a member that is lost while nothing is to do is missed") {
  PlayedRig two(0);
  REQUIRE(two.agreement->hear().verb == Order::Verb::wait);
  CHECK_THROWS_AS(two.agreement->together([] {}), Error);  // what a member that is out of step makes of the group
  CHECK(two.real.outcome().find("the ranks' calls do not fit") != std::string::npos);
}

TEST_CASE(
    "a member that was not told of the job in time fails it on all, with its rank, and the next one is rendered") {
  GroupRig group(2, [](LoopRig& member, int) { member.maker.deadline = milliseconds(20); });
  const Said late(2, "rank 1 of the group: was not told of the job within 10 ms");
  group.first().give("a");
  CHECK(group.why_failed("a", "renderer") == late);
  group.last().give("b", 1);
  group.first().give("b", 2);  // the same job in another lease
  CHECK(group.why_failed("b", "renderer") == late);
  group.give("c");
  CHECK(group.take() == Said{"c>c.mp4", "c>"});
  CHECK(group.end() == Said(2));
}

TEST_CASE("what one member cannot prepare fails the job on all with the same reason, and the next one is rendered") {
  GroupRig group(3);
  for (int rank = 2; rank >= 0; --rank) {
    group.members[static_cast<std::size_t>(rank)]->give("bad", 1, rank == 1 ? missing_lora() : nullptr);
  }
  CHECK(group.why_failed("bad", "job") == Said(3, "rank 1 of the group: missing.safetensors: no such file"));
  for (int rank = 2; rank >= 0; --rank) {
    group.members[static_cast<std::size_t>(rank)]->give("bad for all", 1, missing_lora());
  }
  CHECK(group.why_failed("bad for all", "job") == Said(3, "missing.safetensors: no such file"));
  group.give("good");
  CHECK(group.take() == Said{"good>good.mp4", "good>", "good>"});
  CHECK(group.end() == Said(3));
  for (const auto& member : group.members) CHECK(member->maker.diary->all("render") == Said{"render good"});
}

TEST_CASE("a job that is cancelled at one member ends on all, whether it waits or is rendered") {
  GroupRig group(3, [](LoopRig& member, int rank) {
    member.maker.on_call = [&member, rank](const FakeMaker::Call& call) {
      if (call.job == "long" && rank == 0) member.maker.diary->wait_for("cancelled");
    };
  });
  group.give("long");
  group.first().maker.diary->wait_for("render long");
  for (const char* job : {"waiting", "also waiting", "next"}) group.give(job);
  group.first().jobs.cancel("waiting");
  group.last().jobs.cancel("also waiting");
  group.first().jobs.cancel("long");
  group.first().maker.diary->add("cancelled");
  CHECK(group.why_failed("long", "interrupted") == Said(3, "cancelled"));
  CHECK(group.why_failed("waiting", "interrupted") == Said(3, "cancelled"));
  CHECK(group.why_failed("also waiting", "interrupted") == Said(3, "rank 2 of the group: cancelled"));
  CHECK(group.take() == Said{"next>next.mp4", "next>", "next>"});
  CHECK(group.end() == Said(3));
  for (const auto& member : group.members) {
    CHECK(member->maker.diary->all("render") == Said{"render long", "render next"});
  }
}

TEST_CASE("waves are begun and finished alike on all members, and what ends in one ends on all") {
  test::Diary told;
  GroupRig group(2, [&told](LoopRig& member, int rank) {
    if (rank != 0) return;  // the others do what rank 0 says
    member.maker.wave_size = 3;
    member.maker.on_call = [&told, &member](const FakeMaker::Call& call) {
      if (call.verb == "begin" && call.job == "a") told.wait_for("all");
      if (call.verb == "begin" && call.job == "c") member.jobs.cancel("b");
    };
  });
  for (const char* job : {"d", "c", "b", "a"}) group.last().give(job);
  for (const char* job : {"a", "b", "c", "d"}) group.first().give(job);
  told.add("all");
  for (const std::string job : {"a", "c", "d"}) CHECK(group.take() == Said{job + ">" + job + ".mp4", job + ">"});
  CHECK(group.why_failed("b", "interrupted") == Said(2, "cancelled"));
  CHECK(group.end() == Said(2));
  const Said alike{"begin a", "begin b", "begin c", "finish a", "finish c", "begin d", "finish d", "part"};
  for (const auto& member : group.members) {
    const Said all = member->maker.diary->all();
    CHECK(Said(all.begin() + 1, all.end()) == alike);  // but "share"
  }
}

TEST_CASE("a state between the experts that could not be kept ends the job on all when they hear of it") {
  GroupRig group(2, [](LoopRig& member, int rank) {
    member.maker.wave_size = 2;
    if (rank == 0) member.maker.unsaved = std::make_exception_ptr(Error(ErrorKind::storage, "a.state: no room"));
  });
  group.give("a");
  CHECK(group.why_failed("a", "storage") == Said(2, "a.state: no room"));
  CHECK(group.end() == Said(2));
  for (const auto& member : group.members) CHECK(member->maker.diary->all("finish").empty());
}

TEST_CASE("a half of a video that a member has not begun is an error of the program") {
  PlayedRig two(1);
  two.agreement->tell({Order::Verb::finish, "a", 1});
  CHECK(two.real.outcome() == "internal: finish: a was not begun here");
}

TEST_CASE("after what one member alone has met it does not go on, and says nothing of the job") {
  for (const std::size_t broken : {0, 1}) {
    CAPTURE(broken);
    GroupRig group(
        2,
        [broken](LoopRig& member, int rank) {
          if (static_cast<std::size_t>(rank) != broken) return;
          member.maker.on_call = [](const FakeMaker::Call&) { throw Error(ErrorKind::device, "sticky"); };
        },
        without(&Limits::farewell));
    group.give("a");
    CHECK(group.members[broken]->outcome() == "device: sticky");
    group.lose();  // as it would by the end of the process; else the other one waits for as long as a group may
    CHECK(group.members[1 - broken]->outcome().rfind("comm: ", 0) == 0);
    for (const auto& member : group.members) {
      member->said();
      CHECK_FALSE(member->heard.has({{"type", "failed"}}));
    }
  }
}

TEST_CASE("who is told to end while rank 0 goes on renders with it to the end") {
  GroupRig group(2);
  group.give("a");
  group.give("b");
  group.last().to_render.close();
  CHECK(group.take() == Said{"a>a.mp4", "a>"});
  CHECK(group.take() == Said{"b>b.mp4", "b>"});
  CHECK(group.end() == Said(2));
}

TEST_CASE("who is told to end, and hears for too long that there is nothing to do, leaves without rank 0") {
  PlayedRig two(1, without(&Limits::patience));
  two.real.to_render.close();
  two.agreement->tell({});
  CHECK(two.real.outcome() == "");
  CHECK_FALSE(two.real.maker.diary->has("part"));
  CHECK_FALSE(two.real.maker.diary->has("lost"));
}

TEST_CASE("who hears that the group is over parts from it, and waits to be told to end itself") {
  PlayedRig two(1);
  two.agreement->tell({Order::Verb::end, "", 0});
  two.group->finalize();
  two.real.maker.diary->wait_for("part");
  CHECK(two.real.end() == "");
}

TEST_CASE("who hears that the group is over, and not that it is to end, says that rank 0 has left") {
  PlayedRig two(1, without(&Limits::patience));
  two.agreement->tell({Order::Verb::end, "", 0});
  two.group->finalize();
  CHECK(two.real.outcome() == "comm: rank 0 has left the group");
}

TEST_CASE("who loses the group, and is told to end soon after, ends in good order") {
  PlayedRig two(1);
  two.rendezvous.reset();
  two.real.maker.diary->wait_for("lost");
  CHECK(two.real.end() == "");
  CHECK(two.real.said().size() == 1);  // the rendezvous
}

TEST_CASE("who loses the group, and is not told to end in time, cannot go on") {
  constexpr milliseconds kFarewell{200};
  Limits limits = test::rig_limits();
  limits.farewell = kFarewell;
  PlayedRig two(1, limits);
  const base::Stopwatch watch;
  two.rendezvous.reset();
  CHECK(two.real.outcome().find("lost the store") != std::string::npos);
  CHECK(watch.seconds() >= std::chrono::duration<double>(kFarewell).count());
}
