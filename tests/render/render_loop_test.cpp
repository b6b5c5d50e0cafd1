// The thread that renders, alone, with a maker that computes nothing.
#include "render/render_loop.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include "nightreel/base/error.h"
#include "render/loop_rig.h"

using namespace nightreel;
using base::Error;
using base::ErrorKind;
using test::FakeMaker;
using test::LoopRig;
using Names = std::vector<std::string>;

TEST_CASE("videos are rendered in their order, and handed over with what belongs to them, files and all") {
  LoopRig one;
  one.give("a", 11);
  one.give("b", 12);
  one.start();
  const auto a = one.take();
  const auto b = one.take();
  CHECK(one.end() == "");
  CHECK(one.maker.diary->all() == Names{"render a", "render b"});
  CHECK(a.work.request.job == "a");
  CHECK(a.work.request.token == 11);
  CHECK(a.rendered.resumed_step == 3);
  CHECK(b.work.request.job == "b");
  CHECK(b.work.request.video == "b.mp4");
  CHECK(b.work.request.sheet == "b.jpg");
  CHECK(b.work.request.archive == "b.h5");
  CHECK(one.said().empty());
}

TEST_CASE("what one video throws is said of it alone, and the next one is rendered") {
  LoopRig one;
  one.maker.on_call = [](const FakeMaker::Call& call) {
    if (call.job == "odd") throw Error(ErrorKind::job, "height 50");
    if (call.job == "large") TORCH_CHECK_WITH(OutOfMemoryError, false, "out of memory");
    if (call.job == "late") throw Error(ErrorKind::comm, "not alone");
    if (call.job == "bug") throw std::runtime_error("a bug");
  };
  for (const char* job : {"odd", "large", "late", "bug", "good"}) one.give(job, 9);
  one.start();
  CHECK(one.take().work.request.job == "good");
  CHECK(one.end() == "");
  const auto failed = [&](const char* job, const char* kind, const char* why) {
    return one.heard.has({{"type", "failed"}, {"job", job}, {"token", 9}, {"kind", kind}, {"message", why}});
  };
  one.said();
  CHECK(failed("odd", "job", "height 50"));
  CHECK(failed("large", "device_memory", "out of memory"));
  CHECK(failed("late", "comm", "not alone"));
  CHECK(failed("bug", "internal", "a bug"));
}

TEST_CASE("a video that is cancelled while it waits is not begun; one that is cancelled meanwhile ends") {
  LoopRig one;
  one.maker.on_call = [&](const FakeMaker::Call& call) {
    if (call.job == "long") one.maker.diary->wait_for("cancelled");
  };
  one.give("long");
  one.give("waiting");
  one.give("next");
  one.start();
  one.maker.diary->wait_for("render long");
  one.jobs.cancel("waiting");
  one.jobs.cancel("long");
  one.maker.diary->add("cancelled");
  one.take();
  CHECK(one.end() == "");
  CHECK(one.maker.diary->all("render") == Names{"render long", "render next"});
  one.said();
  for (const char* job : {"long", "waiting"}) {
    CHECK(one.heard.has({{"type", "failed"}, {"job", job}, {"kind", "interrupted"}}));
  }
}

TEST_CASE("a video that its rank stops hears so after a step, keeps its state and ends") {
  LoopRig one;
  one.maker.on_call = [&](const FakeMaker::Call& call) {
    call.observer->progress("denoise", 4, 20);
    CHECK_FALSE(call.observer->stop_asked());
    one.maker.diary->add("step 4");
    one.maker.diary->wait_for("told");
    if (!call.observer->stop_asked()) return;
    call.observer->saved(5);
    throw Error(ErrorKind::interrupted, "stopped after step 5");
  };
  one.give("video", 8);
  one.start();
  one.maker.diary->wait_for("step 4");
  one.jobs.stop("video");
  one.maker.diary->add("told");
  one.heard.wait_for({{"type", "progress"}, {"job", "video"}, {"token", 8}, {"step", 4}, {"steps", 20}});
  one.heard.wait_for({{"type", "checkpoint"}, {"job", "video"}, {"token", 8}, {"step", 5}});
  one.heard.wait_for({{"type", "failed"}, {"job", "video"}, {"token", 8}, {"kind", "interrupted"}});
  CHECK(one.end() == "");
}

TEST_CASE("what waits when it is told to end is still dealt with") {
  LoopRig one;
  one.give("a");
  one.give("b");
  one.to_render.close();
  one.start();
  one.take();
  one.take();
  CHECK(one.end() == "");
}

TEST_CASE("one video is rendered while the one before waits to be written") {
  LoopRig one;
  one.give("a");
  one.give("b");
  one.start();
  one.maker.diary->wait_for("render b");
  CHECK(one.take().work.request.job == "a");
  CHECK(one.take().work.request.job == "b");
  CHECK(one.end() == "");
}

TEST_CASE("where experts take turns, videos are begun and finished in waves") {
  LoopRig one;
  one.maker.wave_size = 3;
  for (const char* job : {"a", "b", "c", "d"}) one.give(job);
  one.to_render.close();
  one.start();
  for (const char* job : {"a", "b", "c", "d"}) CHECK(one.take().work.request.job == job);
  CHECK(one.end() == "");
  CHECK(one.maker.diary->all() ==
        Names{"begin a", "begin b", "begin c", "finish a", "finish b", "finish c", "begin d", "finish d"});
}

TEST_CASE("what comes while a wave is begun joins it; what comes later waits for the next") {
  LoopRig one;
  one.maker.wave_size = 4;
  one.maker.on_call = [&](const FakeMaker::Call& call) {
    if (call.verb == "begin" && call.job == "a") one.give("b");
    if (call.verb == "finish" && call.job == "a") one.give("c");
  };
  one.give("a");
  one.start();
  for (const char* job : {"a", "b", "c"}) CHECK(one.take().work.request.job == job);
  CHECK(one.end() == "");
  CHECK(one.maker.diary->all() == Names{"begin a", "begin b", "finish a", "finish b", "begin c", "finish c"});
}

TEST_CASE("what fails in one half of a wave, or is cancelled in it, leaves the others as they are") {
  LoopRig one;
  one.maker.wave_size = 4;
  one.maker.on_call = [&](const FakeMaker::Call& call) {
    if (call.verb == "begin" && call.job == "a") throw Error(ErrorKind::job, "first half");
    if (call.verb == "begin" && call.job == "d") one.jobs.cancel("c");
    if (call.verb == "finish" && call.job == "b") throw Error(ErrorKind::numeric, "second half");
  };
  for (const char* job : {"a", "b", "c", "d"}) one.give(job);
  one.start();
  CHECK(one.take().work.request.job == "d");
  CHECK(one.end() == "");
  CHECK(one.maker.diary->all("finish") == Names{"finish b", "finish d"});
  one.said();
  CHECK(one.heard.has({{"type", "failed"}, {"job", "a"}, {"message", "first half"}}));
  CHECK(one.heard.has({{"type", "failed"}, {"job", "b"}, {"message", "second half"}}));
  CHECK(one.heard.has({{"type", "failed"}, {"job", "c"}, {"kind", "interrupted"}}));
}

TEST_CASE("a place in a group that is told of between two videos ends a wave") {
  const auto rendezvous = comm::make_store_rendezvous("127.0.0.1");
  LoopRig one;
  one.maker.wave_size = 4;
  one.give("a");
  one.to_render.put(render::Seat{test::seat_at(rendezvous->address(), 0, 1), nullptr});
  one.give("b");
  one.to_render.close();
  one.start();
  one.take();
  one.take();
  CHECK(one.end() == "");
  CHECK(one.maker.diary->all() == Names{"begin a", "finish a", "share 0/1", "begin b", "finish b"});
  one.said();
  CHECK(one.heard.has({{"type", "rendezvous"}, {"address", rendezvous->address()}, {"joined", true}}));
}

TEST_CASE("a group that is not to be had is said, and the renderer may be told of another one") {
  LoopRig one;
  CHECK(one.loop.enter_group());
  CHECK_FALSE(one.loop.enter_group());
  CHECK(one.loop.in_group());
  one.to_render.put(render::Seat{test::seat_at("no address", 0, 2), nullptr});
  one.give("a");
  one.start();
  const auto failed = one.heard.wait_for({{"type", "failed"}, {"job", ""}});
  CHECK(failed.at("kind") == "comm");
  one.take();
  CHECK_FALSE(one.loop.in_group());
  CHECK(one.loop.enter_group());
  CHECK(one.end() == "");
}
