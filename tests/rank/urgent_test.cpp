// Jobs that come while a video is in hand: from the inbox, and more urgent ones than the next in line.
#include <thread>

#include "rank/night.h"

using namespace nightreel;
using namespace nightreel::test;
using queue::JobState;

TEST_CASE_FIXTURE(Night, "an inbox entry is a job before the video in hand ends, and one without a fault counts") {
  add("a", "until=go");
  Rank one = rank();
  std::jthread pusher([&] {
    CHECK(starts("a"));
    add("b", "until=go");  // two in hand: the rank claims no more
    CHECK(starts("b"));
    raw.command({"RPUSH", "nightreel:{default}:inbox", R"({"id": "pushed", "prompt": "a circle"})", R"({"id": "no"})"});
    CHECK(comes([&] { return view("pushed").state == JobState::pending; }));
    CHECK(comes([&] { return view("no").state == JobState::failed; }));
    CHECK(!has_video("a"));
    folder.write("go", "1");
  });
  const auto summary = one.drain();
  CHECK(summary.rejected == 1);
  REQUIRE(summary.rejects.size() == 1);
  CHECK(summary.rejects[0].id == "no");
  check_done("a", 1);
  check_done("b", 1);
}

TEST_CASE_FIXTURE(Night, "a job of higher priority is begun before the one that waits behind the running video") {
  add("running", "until=go");
  add("waiting", "a circle");
  add("other", "a circle");
  Rank one = rank();
  one.limits.poll_s = 0.05;
  std::jthread urgent([&] {
    CHECK(starts("running"));
    CHECK(starts("waiting"));
    add("urgent", "a circle", {{"priority", 9}});
    CHECK(starts("urgent"));
    CHECK(comes([&] { return view("waiting").state == JobState::pending; }));
    CHECK(view("waiting").attempts == 0);
    CHECK(view("running").state == JobState::running);
    folder.write("go", "1");
  });
  CHECK(one.drain().jobs.size() == 4);
  for (const char* id : {"running", "waiting", "other", "urgent"}) check_done(id, 1);
  const auto done_at = [&](const std::string& id) { return std::stoll(told(id).back()); };
  CHECK(done_at("urgent") <= done_at("waiting"));
  CHECK(done_at("waiting") <= done_at("other"));  // it kept its place
  CHECK(litter() == 0);
}

TEST_CASE_FIXTURE(Night, "a job of the same priority waits its turn") {
  add("running", "until=go", {{"priority", 3}});
  add("waiting", "a circle", {{"priority", 3}});
  Rank one = rank();
  std::jthread later([&] {
    CHECK(starts("running"));
    CHECK(starts("waiting"));
    add("later", "a circle", {{"priority", 3}});
    const base::Stopwatch since;
    CHECK(comes([&] { return since.seconds() > 2.5; }));  // two looks for what is urgent
    CHECK(view("later").state == JobState::pending);
    CHECK(view("waiting").state == JobState::running);
    folder.write("go", "1");
  });
  one.drain();
  for (const char* id : {"running", "waiting", "later"}) check_done(id, 1);
}

namespace {

/// An inbox that never gets empty.
class Flood {
 public:
  explicit Flood(const TestServer& server) : raw_(server.options()) {
    thread_ = std::jthread([this](const std::stop_token& stop) {
      for (int i = 0; !stop.stop_requested();) {
        std::vector<std::string> words{"RPUSH", "nightreel:{default}:inbox"};
        while (words.size() < 1000) words.push_back("garbage " + std::to_string(i++));
        if (raw_.command(words).integer() > 20'000) std::this_thread::sleep_for(10ms);
      }
    });
  }

 private:
  queue::Redis raw_;
  std::jthread thread_;
};

}  // namespace

TEST_CASE_FIXTURE(Night, "an endless flood of the inbox holds up neither videos nor an end that is asked for") {
  for (const auto how : {rank::Ask::finish, rank::Ask::stop}) {
    const std::string id = how == rank::Ask::stop ? "a" : "b";
    raw.command({"DEL", "nightreel:{default}:inbox"});
    const Flood flood(server);
    CHECK(comes([&] { return jobs.counts("").inbox > 10'000; }));
    Rank one = rank();
    add(id, "a circle");
    add(id + "-held", "until=" + id);
    const auto refused = jobs.counts("").failed;
    std::jthread asker([&] {
      CHECK(comes([&] { return view(id).state == JobState::done; }));
      CHECK(comes([&] { return jobs.counts("").failed > refused; }));
      one.signals.ask(how);
      folder.write(id, "1");
    });
    const auto summary = one.drain();
    CHECK(summary.stopped_early);
    CHECK(summary.error == "");
    CHECK(summary.rejected > 0);
    CHECK(summary.rejects.size() <= 100);
    CHECK(jobs.counts("run-1").leased_by_run == 0);
    check_done(id, 1);
  }
}
