// What a rank wants of the jobs that it gave, and what it hears of them, through a pipe.
#include "render/jobs.h"

#include <ATen/ATen.h>
#include <c10/util/Exception.h>
#include <doctest/doctest.h>

#include <thread>

#include "nightreel/base/error.h"
#include "render/out_of_memory.h"
#include "render/support.h"

using namespace nightreel;
using base::Error;
using base::ErrorKind;
using protocol::Json;
using render::Jobs;
using render::Work;

namespace {

struct JobsOnAPipe {
  test::Wire wire;
  render::Events events{wire.in()};
  Jobs jobs{events};
  test::Heard heard{wire.out()};

  const std::vector<Json>& said() {
    wire.close_in();
    return heard.to_the_end();
  }
};

Work work_for(const std::string& job, std::uint64_t token = 1) {
  Work work;
  work.request = test::request_for(job, token);
  return work;
}

}  // namespace

TEST_CASE("a job that is cancelled is, and no other one") {
  JobsOnAPipe one;
  const Work first = work_for("first"), second = work_for("second");
  one.jobs.add(first);
  one.jobs.add(second);
  one.jobs.cancel("nobody's");
  one.jobs.cancel("second");
  CHECK_FALSE(one.jobs.observer_for(first).cancel.cancelled());
  CHECK(one.jobs.observer_for(second).cancel.cancelled());
  CHECK(second.cancel.cancelled());
  one.jobs.cancel_all();
  CHECK(first.cancel.cancelled());
}

TEST_CASE(
    "a job that is to be stopped is told so for as long as it is in hand, also where it is told before it is there") {
  JobsOnAPipe one;
  one.jobs.stop("video");
  const Work work = work_for("video"), other = work_for("other");
  one.jobs.add(work);
  one.jobs.add(other);
  const auto observer = one.jobs.observer_for(work);
  CHECK(observer.stop_asked());
  CHECK(observer.stop_asked());
  CHECK_FALSE(one.jobs.observer_for(other).stop_asked());
  one.jobs.fail(work.request, Error(ErrorKind::interrupted, "stopped after step 3"));
  CHECK_FALSE(observer.stop_asked());  // another attempt of the same job
}

TEST_CASE("a job that has ended is not there to be cancelled, and its next attempt is another one") {
  for (const bool done : {false, true}) {
    CAPTURE(done);
    JobsOnAPipe one;
    Work first = work_for("video", 1);
    const auto cancel = first.cancel;
    one.jobs.add(first);
    render::Rendered rendered;
    rendered.frames_FHW3 = at::zeros({1, 1, 1, 3}, at::kByte);
    if (done) one.jobs.done({std::move(first), std::move(rendered)});
    if (!done) one.jobs.fail(first.request, Error(ErrorKind::job, "bad"));
    one.jobs.cancel("video");
    CHECK_FALSE(cancel.cancelled());
    const Work second = work_for("video", 2);
    one.jobs.add(second);
    one.jobs.cancel("video");
    CHECK(second.cancel.cancelled());
  }
}

TEST_CASE("progress, checkpoints and ends are said with the job and its token") {
  JobsOnAPipe one;
  Work work = work_for("video", 42);
  one.jobs.add(work);
  const auto observer = one.jobs.observer_for(work);
  observer.progress("denoise", 3, 20);
  observer.saved(4);
  render::Rendered rendered;
  rendered.frames_FHW3 = at::zeros({5, 16, 8, 3}, at::kByte);
  rendered.resumed_step = 2;
  rendered.timings = {{"text", 0.5}, {"encode", 0.25}};
  rendered.unused_keys = {"a.safetensors: one key"};
  rendered.lora_digests = {{"/a.safetensors", "abc"}};
  rendered.plan = {{"peak", 7}};
  one.jobs.done({std::move(work), std::move(rendered)});
  one.jobs.fail(test::request_for("other", 43), Error(ErrorKind::storage, "no room"));
  const Json about{{"v", 1}, {"job", "video"}, {"token", 42}};
  const auto with = [](Json base, const Json& more) {
    base.update(more);
    return base;
  };
  const std::vector<Json> expected{
      with(about, {{"type", "progress"}, {"stage", "denoise"}, {"step", 3}, {"steps", 20}}),
      with(about, {{"type", "checkpoint"}, {"step", 4}}),
      with(about, {{"type", "done"},
                   {"frames", 5},
                   {"height", 16},
                   {"width", 8},
                   {"resumed_step", 2},
                   {"timings", {{"encode", 0.25}, {"text", 0.5}}},
                   {"unused_keys", {"a.safetensors: one key"}},
                   {"lora_digests", {{"/a.safetensors", "abc"}}},
                   {"plan", {{"peak", 7}}}}),
      with({{"v", 1}, {"type", "failed"}, {"memory_failed", ""}},
           {{"job", "other"}, {"token", 43}, {"kind", "storage"}, {"message", "no room"}})};
  CHECK(one.said() == expected);
}

TEST_CASE("who has run out of memory twice says which plans failed") {
  JobsOnAPipe one;
  one.jobs.fail(test::request_for("large", 7), render::OutOfMemory("out of memory", "decode=75,text=3"));
  const auto& said = one.said();
  REQUIRE(said.size() == 1);
  CHECK(said[0].at("kind") == "device_memory");
  CHECK(said[0].at("memory_failed") == "decode=75,text=3");
}

TEST_CASE("whatever was thrown has a kind; LibTorch's errors are told apart by what they say about memory") {
  const auto kind_of = [](const std::exception& thrown) { return render::explain(thrown).first; };
  CHECK(kind_of(Error(ErrorKind::numeric, "not finite")) == ErrorKind::numeric);
  CHECK(kind_of(std::runtime_error("a bug")) == ErrorKind::internal);
  for (const bool memory : {false, true}) {
    try {
      if (memory) TORCH_CHECK_WITH(OutOfMemoryError, false, "CUDA out of memory");
      TORCH_CHECK(false, "a kernel failed");
    } catch (const c10::Error& e) {
      CHECK(kind_of(e) == (memory ? ErrorKind::device_memory : ErrorKind::device));
      CHECK(render::explain(e).second == (memory ? "CUDA out of memory" : "a kernel failed"));
    }
  }
}

TEST_CASE("lines of several threads come whole, and once the rank is gone nothing is said any more") {
  JobsOnAPipe one;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (int line = 0; line < 50; ++line) {
        one.events.fail(std::string(200, static_cast<char>('a' + i)), 1, ErrorKind::job, "bad");
      }
    });
  }
  for (int i = 0; i < 4; ++i) {
    const std::string job(200, static_cast<char>('a' + i));
    CHECK(one.heard.wait_for({{"job", job}}).at("message") == "bad");
  }
  std::thread closing([&] {  // meanwhile: what the pipe does not hold waits for who reads
    for (std::thread& thread : threads) thread.join();
    one.wire.close_in();
  });
  CHECK(one.heard.to_the_end().size() == 200);
  closing.join();
  CHECK_FALSE(one.events.lost());

  test::Wire closed;
  render::Events events(closed.in());
  closed.close_out();
  events.fail("video", 1, ErrorKind::job, "bad");
  CHECK(events.lost());
  events.fail("video", 1, ErrorKind::job, "bad");
}

TEST_CASE("the first heartbeat comes at once, others follow until it is told to stop or the rank is gone") {
  JobsOnAPipe one;
  std::stop_source stopping;
  std::thread slow([&] { one.events.beat(stopping.get_token(), 2 * test::kHang); });
  one.heard.wait_for({{"type", "heartbeat"}});
  stopping.request_stop();
  slow.join();  // at once, not after what was left of the time between two
  CHECK(one.said().size() == 1);

  JobsOnAPipe other;
  std::stop_source never;
  std::thread quick([&] { other.events.beat(never.get_token(), std::chrono::milliseconds(1)); });
  for (int i = 0; i < 3; ++i) test::Heard(other.wire.out()).wait_for({{"type", "heartbeat"}});
  other.wire.close_out();
  quick.join();
  CHECK(other.events.lost());
}

TEST_CASE("what a renderer ends with is said as failed without a job, and gives the exit code of its kind") {
  JobsOnAPipe one;
  CHECK(render::exit_code_of(one.events, [] { return 0; }) == 0);
  const auto thrown = [&](ErrorKind kind) {
    return render::exit_code_of(one.events, [kind]() -> int { throw Error(kind, "the reason"); });
  };
  CHECK(thrown(ErrorKind::model) == base::traits(ErrorKind::model).exit_code);
  CHECK(thrown(ErrorKind::internal) == base::traits(ErrorKind::internal).exit_code);
  CHECK(render::exit_code_of(one.events, []() -> int { throw std::runtime_error("a bug"); }) == 4);
  const auto& said = one.said();
  REQUIRE(said.size() == 3);
  CHECK(said[0] == Json{{"v", 1},
                        {"type", "failed"},
                        {"job", ""},
                        {"token", 0},
                        {"kind", "model"},
                        {"message", "the reason"},
                        {"memory_failed", ""}});
  CHECK(said[2].at("kind") == "internal");
}
