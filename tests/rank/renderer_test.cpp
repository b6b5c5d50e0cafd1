#include "nightreel/rank/renderer.h"

#include <doctest/doctest.h>

#include <cstdlib>

#include "nightreel/base/error.h"
#include "nightreel/base/file.h"
#include "support/comes.h"
#include "support/error.h"
#include "support/temp_folder.h"

using namespace nightreel;

namespace {

// A renderer of the fake kind, whose GPU is the test's to describe.
struct OnGpu {
  test::TempFolder folder;
  std::vector<pid_t> asked;
  std::function<bool()> listed = [] { return false; };
  rank::Renderer renderer{{{FAKE_RENDERER, folder.path()},
                           folder / "renderer.log",
                           60,
                           60,
                           [this](pid_t process) {
                             asked.push_back(process);
                             return listed();
                           }},
                          base::Logger()};
};

}  // namespace

TEST_CASE_FIXTURE(OnGpu, "after a renderer's end the next may start when the driver lists its process no more") {
  CHECK(renderer.may_start());
  CHECK(asked.empty());
  renderer.start();
  const pid_t first = renderer.pid();
  renderer.kill();
  int looks = 0;
  listed = [&] { return ++looks <= 2; };
  CHECK_FALSE(renderer.may_start());
  CHECK_FALSE(renderer.may_start());
  CHECK(renderer.may_start());
  CHECK(asked == std::vector<pid_t>(3, first));
  CHECK(renderer.may_start());  // settled: nobody is asked again
  CHECK(asked.size() == 3);
}

TEST_CASE("a renderer knows no password and no token, but what it was named") {
  const test::TempFolder folder;
  const std::string asks = "env >\"$1/env\"; exec \"$0\" \"$1\"";
  const std::vector<std::pair<const char*, const char*>> given{{"REDIS_PASSWORD", "secret-1"},
                                                               {"REDIS_URL", "secret-2"},
                                                               {"HF_TOKEN", "secret-3"},
                                                               {"NIGHTREEL_REDIS", "secret-4"},
                                                               {"ATEN_CPU_CAPABILITY", "avx2"},
                                                               {"NCCL_DEBUG", "WARN"},
                                                               {"EDITOR", "ed"}};
  for (const auto& [name, value] : given) ::setenv(name, value, 1);
  rank::RendererCommand command{{"/bin/sh", "-c", asks, FAKE_RENDERER, folder.path()}, folder / "renderer.log"};
  command.environment.more = {"ATEN_CPU_CAPABILITY", "REDIS_URL"};
  rank::Renderer renderer(command, base::Logger());
  renderer.start();
  REQUIRE(test::comes([&] {
    renderer.poll(std::chrono::milliseconds(10));
    return renderer.ready();
  }));
  for (const auto& [name, value] : given) ::unsetenv(name);
  const std::string got = "\n" + base::read_file(folder / "env", 1U << 20U);
  for (const char* absent : {"secret-", "\nREDIS", "\nHF_", "\nEDITOR="}) CHECK_FALSE(test::contains(got, absent));
  for (const char* there : {"\nATEN_CPU_CAPABILITY=avx2\n", "\nNCCL_DEBUG=WARN\n", "\nPATH="})
    CHECK(test::contains(got, there));
}

TEST_CASE_FIXTURE(OnGpu, "a driver that cannot be asked holds up nobody") {
  renderer.start();
  renderer.kill();
  listed = []() -> bool { throw base::Error(base::ErrorKind::device, "the driver is gone"); };
  CHECK(renderer.may_start());
}
