// What a run makes of jobs of its files that the queue has lost.
#include "rank/own_list.h"

#include <doctest/doctest.h>

#include "rank/fake_queue.h"
#include "rank/list_watch.h"

using namespace nightreel;
using namespace nightreel::rank;
using queue::JobState;

namespace {

queue::Submission own_job(const std::string& id, std::int64_t max_attempts = 0) {
  return {id, "identity-" + id, "hash-" + id, "{}", 0, max_attempts};
}

queue::JobView seen(const std::string& id, JobState state, std::int64_t attempts = 0) {
  queue::JobView view;
  view.id = id;
  view.state = state;
  view.attempts = attempts;
  view.identity = "identity-" + id;
  view.run = "this";
  return view;
}

queue::JobView missing(const std::string& id) {
  queue::JobView view;
  view.id = id;
  return view;
}

// One job that the queue knew as `before` and has lost.
struct AfterLoss {
  explicit AfterLoss(const queue::JobView& before, bool stands = false)
      : list({own_job("a")}, "this", 3, [=, this](const queue::Submission&) { return ++asked > 0 && stands; }) {
    list.compare({before});
    lost = list.compare({missing("a")});
  }
  int asked = 0;
  OwnList list;
  std::vector<queue::LostJob> lost;
};

// A list over a queue that forgets, on a clock that goes on when told to.
struct Watched {
  test::FakeQueue jobs;
  queue::Clock::time_point now{};
  std::map<std::string, bool> stands;
  ListWatch watch{
      OwnList({own_job("a"), own_job("b")}, "this", 3, [this](const queue::Submission& job) { return stands[job.id]; }),
      queue::BringBack{"this", "/out", "m1", ""}, base::Logger(), [this] { return now; }};
  Watched() {
    jobs.views = {{"a", seen("a", JobState::pending)}, {"b", seen("b", JobState::pending)}};
    watch.begin(jobs);
  }
};

}  // namespace

TEST_CASE("a lost job that had not ended comes back with the attempts it had, one is always left") {
  struct Row {
    JobState state;
    std::int64_t had;
    std::int64_t comes_back_with;
  };
  for (const Row& row : {Row{JobState::pending, 0, 0}, Row{JobState::pending, 2, 2}, Row{JobState::delayed, 1, 1},
                         Row{JobState::running, 1, 1}, Row{JobState::running, 3, 2}}) {
    CAPTURE(queue::name(row.state));
    const AfterLoss after(seen("a", row.state, row.had));
    REQUIRE(after.lost.size() == 1);
    CHECK(after.lost[0].job.id == "a");
    CHECK(after.lost[0].attempts == row.comes_back_with);
    CHECK(!after.list.over());
    CHECK(after.list.word(missing("a")).state == JobState::unknown);
  }
  OwnList never_seen({own_job("a", 1)}, "this", 3, nullptr);
  CHECK(never_seen.compare({missing("a")}).at(0).attempts == 0);
}

TEST_CASE("a lost job that had failed or was cancelled stays that") {
  for (const JobState state : {JobState::failed, JobState::cancelled}) {
    queue::JobView before = seen("a", state, 3);
    before.error = "as it was";
    const AfterLoss after(before);
    CHECK(after.lost.empty());
    CHECK(after.list.over());
    CHECK(after.list.word(missing("a")).state == state);
    CHECK(after.list.word(missing("a")).error == "as it was");
  }
}

TEST_CASE("a lost job that was done stays so if its video stands, and comes back if not") {
  AfterLoss gone(seen("a", JobState::done, 1), false);
  CHECK(gone.lost.size() == 1);
  CHECK(!gone.list.over());
  CHECK(gone.list.word(missing("a")).state == JobState::unknown);
  AfterLoss stands(seen("a", JobState::done, 1), true);
  CHECK(stands.lost.empty());
  CHECK(stands.list.over());
  CHECK(stands.list.word(missing("a")).state == JobState::done);
  stands.list.compare({missing("a")});
  CHECK(stands.asked == 1);  // it is not read again and again
}

TEST_CASE("an id that has other content now is a failure by name, and no more of this run's business") {
  OwnList list({own_job("a")}, "this", 3, nullptr);
  queue::JobView other = seen("a", JobState::pending);
  other.identity = "another";
  CHECK(list.compare({other}).empty());
  CHECK(list.over());
  CHECK(list.word(other).state == JobState::failed);
  CHECK(list.word(other).error.find("other content under a") != std::string::npos);
  other.identity.clear();  // the record of a refused inbox entry
  other.state = JobState::failed;
  CHECK(list.word(other).error.find("other content under a") != std::string::npos);
  CHECK(list.word(seen("b", JobState::failed)).error.empty());  // in no file
}

TEST_CASE("a list is over when its jobs have ended or are another run's") {
  OwnList list({own_job("a"), own_job("b")}, "this", 3, nullptr);
  const auto over = [&](const queue::JobView& a, const queue::JobView& b) {
    list.compare({a, b});
    return list.over();
  };
  const auto done = seen("b", JobState::done);
  CHECK(over(seen("a", JobState::done), done));
  CHECK(over(seen("a", JobState::cancelled), done));
  CHECK(!over(seen("a", JobState::pending), done));
  CHECK(list.open().at(0).job.id == "a");
  CHECK(!over(seen("a", JobState::running), done));
  queue::JobView elsewhere = seen("a", JobState::running);
  elsewhere.run = "other";
  CHECK(over(elsewhere, done));
  CHECK(list.open().empty());
}

TEST_CASE_FIXTURE(Watched, "once a minute the queue is asked, and what it has lost is brought back") {
  jobs.views["a"].attempts = 2;
  CHECK(!watch.due());
  now += std::chrono::seconds(60);
  CHECK(watch.due());
  watch.look(jobs);
  CHECK(!watch.due());
  CHECK(jobs.brought_back.empty());
  jobs.views.erase("a");
  jobs.data = "data-2";
  now += std::chrono::seconds(61);
  CHECK(watch.due());
  watch.look(jobs);
  REQUIRE(jobs.brought_back.size() == 1);
  CHECK(jobs.brought_back["a"] == std::pair<std::int64_t, std::string>(2, "data-1"));
  jobs.views.clear();
  watch.look(jobs);
  CHECK(jobs.brought_back["b"].second == "data-2");
}

TEST_CASE_FIXTURE(Watched, "nothing waits any more: that is the end only if all of the list has ended") {
  jobs.views.clear();
  CHECK(!watch.is_over(jobs));
  CHECK(jobs.brought_back.size() == 2);
  CHECK(!jobs.counted.content);
  for (const char* id : {"a", "b"}) jobs.views[id] = seen(id, JobState::done);
  CHECK(watch.is_over(jobs));
  CHECK(jobs.counted.content);
  jobs.counted.content = false;
  jobs.views.clear();
  jobs.brought_back.clear();
  stands["a"] = true;
  CHECK(!watch.is_over(jobs));
  CHECK(jobs.brought_back.size() == 1);  // b, whose video does not stand
  jobs.views["b"] = seen("b", JobState::failed);
  CHECK(watch.is_over(jobs));
}

TEST_CASE_FIXTURE(Watched, "a job that is in none of the queue's sets is brought back, whatever its hash says") {
  jobs.views["a"] = seen("a", JobState::done);
  CHECK(!watch.is_over(jobs));  // nothing waits, and yet b is pending
  CHECK(jobs.brought_back.count("b") == 1);
  CHECK(jobs.brought_back.count("a") == 0);
}
