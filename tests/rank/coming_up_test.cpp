// Renderers that die, hang or fail on their way to `ready`.
#include "rank/coming_up.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <thread>

#include "support/error.h"
#include "support/temp_folder.h"

using namespace nightreel;

namespace {

constexpr double kLong = 100;

/// A fake renderer that a shell starts. `together`: what its first start does, which is to load with others.
struct Start {
  explicit Start(const std::string& together = "", double silence_s = kLong)
      : renderer({{"/bin/sh", "-c",
                   "[ \"$2\" != together ] || { " + (together.empty() ? ":" : together) + "; }; exec \"$0\" \"$1\"",
                   FAKE_RENDERER, folder.path()},
                  folder / "renderer.log",
                  silence_s,
                  kLong,
                  nullptr,
                  together.empty() ? std::vector<std::string>{} : std::vector<std::string>{"together"}},
                 base::Logger()),
        together_(!together.empty()) {}

  /// The digest that it says in the end.
  std::string come_up(
      double meeting_limit_s = kLong, double loading_limit_s = kLong,
      const std::function<bool()>& interrupted = [] { return false; }) {
    const auto log = base::Logger::to_stderr_and_file(base::LogFormat::text, "rank", folder / "rank.log");
    return rank::come_up(renderer, {together_, meeting_limit_s, loading_limit_s}, interrupted, log).model_digest;
  }
  std::string said() const {
    std::ifstream in(folder / "rank.log");
    return {std::istreambuf_iterator<char>(in), {}};
  }

  test::TempFolder folder;
  rank::Renderer renderer;

 private:
  bool together_;
};

std::string line(const std::string& event) {
  return "printf '%s\\n' '" + event + "'";
}

/// What a renderer does that has failed.
std::string failed(const char* kind) {
  return line(protocol::encode(protocol::FailedEvent{"", 0, base::error_kind(kind), "it failed"})) +
         "; exec sleep 1000";
}

}  // namespace

TEST_CASE("a renderer that dies while it loads is started again, twice") {
  Start start;
  start.folder.write("load.kill", "2");
  CHECK(start.come_up() == "m1");
  CHECK(std::filesystem::exists(start.folder / "load.count.2"));
  CHECK(test::contains(start.said(), "(2 of 2): signal 9"));
}

TEST_CASE("one that dies once more is given up, with how it ended and its last words") {
  Start start;
  start.folder.write("load.kill", "3");
  const auto thrown = test::thrown_by([&] { start.come_up(); });
  CHECK(thrown.kind == base::ErrorKind::renderer);
  CHECK(test::contains(thrown.message, "the renderer ended while loading: signal 9"));
  CHECK(test::contains(thrown.message, "last words"));
}

TEST_CASE("a `ready` with a field that no engine of this build writes is the installation's fault, and no job's") {
  protocol::ReadyEvent good;
  good.model = good.versions = protocol::Json::object();
  for (const char* field : {"versions", "memory", "plan"}) {
    CAPTURE(std::string(field));
    auto odd = protocol::Json::parse(protocol::encode(good));
    odd[field] = "2.11";
    Start start(line(odd.dump()) + "; exec sleep 1000");
    const auto thrown = test::thrown_by([&] { start.come_up(); });
    CHECK(thrown.kind == base::ErrorKind::environment);
    CHECK(test::contains(thrown.message, "from one build"));
  }
}

TEST_CASE("one that dies when the time for loading is over is not started again") {
  Start start;
  start.folder.write("load.kill", "1");
  CHECK(test::contains(test::thrown_by([&] { start.come_up(kLong, 0); }).message, "ended while loading"));
}

TEST_CASE("one that says nothing for as long as loading may take is not started again") {
  Start start("", 0.3);
  start.folder.write("load.hang", "1");
  const auto thrown = test::thrown_by([&] { start.come_up(); });
  CHECK(test::contains(thrown.message, "hung: no event for "));
}

TEST_CASE("what fails while renderers load together is not held against the one that then loads alone") {
  for (const std::string& together : {std::string("kill -9 $$"), std::string("exit 3"), failed("comm"),
                                      failed("device"), failed("device_memory"), failed("internal")}) {
    CAPTURE(together);
    Start start(together);
    start.folder.write("load.kill", "2");
    CHECK(start.come_up() == "m1");
    CHECK(test::contains(start.said(), "load-alone"));
  }
}

TEST_CASE("a renderer that does not meet the others in time loads alone") {
  Start start("exec sleep 1000");
  CHECK(start.come_up(0.1) == "m1");
  CHECK(test::contains(start.said(), "the renderers did not meet within"));
}

TEST_CASE("a renderer that has met the others has all the time of loading") {
  const std::string met = line(protocol::encode(protocol::RendezvousEvent{"h:1", true}));
  Start start(met + "; : > \"$1/met\"; until [ -e \"$1/go\" ]; do sleep 0.02; done");
  start.renderer.start();
  while (!std::filesystem::exists(start.folder / "met")) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  int looks = 0;
  CHECK(start.come_up(0, kLong, [&] {
    if (++looks == 4) start.folder.write("go", "");
    return false;
  }) == "m1");
  CHECK_FALSE(test::contains(start.said(), "load-alone"));
}

TEST_CASE("what a renderer reports itself is final") {
  for (const char* kind : {"model", "environment", "usage"}) {
    CAPTURE(kind);
    Start start(failed(kind));
    CHECK(test::thrown_by([&] { start.come_up(); }).kind == base::error_kind(kind));
  }
}

TEST_CASE("who is asked to stop waits no longer") {
  Start start("exec sleep 1000");
  CHECK(test::thrown_by([&] { start.come_up(kLong, kLong, [] { return true; }); }).kind ==
        base::ErrorKind::interrupted);
}
