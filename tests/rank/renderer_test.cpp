#include "nightreel/rank/renderer.h"

#include <doctest/doctest.h>

#include "nightreel/base/error.h"
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

TEST_CASE_FIXTURE(OnGpu, "a driver that cannot be asked holds up nobody") {
  renderer.start();
  renderer.kill();
  listed = []() -> bool { throw base::Error(base::ErrorKind::device, "the driver is gone"); };
  CHECK(renderer.may_start());
}
