#include "nightreel/doctor/report.h"

#include <atomic>
#include <future>
#include <nlohmann/json.hpp>

#include "doctor/patient.h"
#include "doctor/support.h"
#include "doctor/watchdog.h"
#include "support/error.h"

namespace nightreel::doctor {
namespace {

using namespace std::chrono_literals;

Report mixed() {
  return {{ok("mpi", "fine"), warning("shm", "small", "make it larger"), failure("redis", "gone\x1b[31m", "start it"),
           not_checked("model", "no --model")},
          {{0, "a", 0, "cpu"}}};
}

TEST_CASE("any failure makes the code 3, warnings and what was not checked do not") {
  CHECK(exit_code(mixed()) == 3);
  CHECK(exit_code({{ok("a", "b"), warning("a", "b", "c"), not_checked("a", "b")}, {}}) == 0);
  CHECK(exit_code({}) == 0);
}

TEST_CASE("the text has a line a finding, its fix below, and totals") {
  CHECK(to_text(mixed()) ==
        "ok           mpi          fine\n"
        "warning      shm          small\n"
        "                          fix: make it larger\n"
        "failure      redis        gone\\x1b[31m\n"
        "                          fix: start it\n"
        "not checked  model        no --model\n"
        "1 failed, 1 warning, 1 ok, 1 not checked\n");
}

TEST_CASE("the JSON has the same for programs") {
  const auto json = nlohmann::json::parse(to_json(mixed()));
  CHECK(json.at("exit_code") == 3);
  CHECK(json.at("failures") == 1);
  CHECK(json.at("warnings") == 1);
  CHECK(json.at("checks").at(2) ==
        nlohmann::json{{"check", "redis"}, {"level", "failure"}, {"text", "gone\\x1b[31m"}, {"fix", "start it"}});
  CHECK(json.at("checks").at(3).at("level") == "not_checked");
  CHECK(json.at("ranks").at(0) == nlohmann::json{{"rank", 0}, {"host", "a"}, {"local_rank", 0}, {"device", "cpu"}});
}

TEST_CASE("work that hangs is left behind at its limit, what it throws comes through, its answer too") {
  std::promise<void> go_on;
  const auto released = go_on.get_future().share();
  const Patient patient(50ms);
  CHECK(patient.within(60s, [] { return std::string("x"); }) == "x");
  CHECK(test::thrown_by([&] {
          patient.within(60s, []() -> std::string { throw base::Error(base::ErrorKind::storage, "full"); });
        }).message == "full");
  const auto late = test::thrown_by([&] {
    patient([released] {
      released.wait();
      return std::string();
    });
  });
  CHECK(test::contains(late.message, "no answer within"));
  CHECK(patient.left_behind());
  go_on.set_value();
  while (patient.left_behind()) std::this_thread::sleep_for(1ms);
}

TEST_CASE("the watchdog speaks once about what is late, and not about what was done") {
  std::promise<std::string> said;
  auto heard = said.get_future();
  {
    Watchdog watchdog([&](const std::string& doing) { said.set_value(doing); });
    watchdog.begin("quick", 1h);
    watchdog.begin("slow", 10ms);
    CHECK(heard.get() == "slow");
  }
  std::atomic<int> calls = 0;
  {
    Watchdog watchdog([&](const std::string&) { ++calls; });
    watchdog.begin("in time", 1h);
  }
  CHECK(calls == 0);
}

}  // namespace
}  // namespace nightreel::doctor
