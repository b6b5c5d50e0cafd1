// A done job whose video is gone, or is another file: back into the line, and never over a newer publication.
#include <doctest/doctest.h>

#include "queue/queue_fixture.h"

using namespace nightreel;
using namespace nightreel::queue;
using namespace std::chrono_literals;
using test::a_job;
using Fixture = test::QueueFixture;

TEST_CASE_FIXTURE(Fixture, "a done job goes back with all its attempts, to its old place") {
  queue.submit({a_job("a", 0, 2), a_job("b")}, {});
  queue.fail(claim().ref, {"storage", "m", false, false});
  due("a");
  CHECK(queue.complete(claim().ref, {"videos/a.mp4", "aa", 1, "stamp"}));
  CHECK(queue.put_back("a", "aa", 0ms) == PutBack::pending);
  CHECK(view("a").state == JobState::pending);
  CHECK(view("a").attempts == 0);
  CHECK(view("a").video + view("a").sha256 + view("a").stamp == "");
  CHECK(queue.counts("").done == 0);
  const Lease again = claim();
  CHECK(again.ref.id == "a");
  CHECK(again.attempt == 1);
  CHECK(again.earlier);  // files of the attempts before may lie about
  const Reply last = raw.command({"XREVRANGE", test::kPrefix + "events", "+", "-", "COUNT", "2"});
  CHECK(last.at(1).at(1).at(1).text() == "put_back");
}

TEST_CASE_FIXTURE(Fixture, "only what was looked at is put back, and only when its record is old enough") {
  queue.submit({a_job("a")}, {});
  CHECK(queue.put_back("a", "", 0ms) == PutBack::changed);     // pending
  CHECK(queue.put_back("none", "", 0ms) == PutBack::changed);  // unknown
  const Lease first = claim();
  CHECK(queue.put_back("a", "", 0ms) == PutBack::changed);  // running
  CHECK(queue.complete(first.ref, {"videos/a.mp4", "aa", 1}));
  CHECK(queue.put_back("a", "other", 0ms) == PutBack::changed);
  CHECK(queue.put_back("a", "aa", 1h) == PutBack::young);
  CHECK(view("a").state == JobState::done);
  raw.command({"HINCRBY", test::kPrefix + "job:a", "ended_ms", "-3600000"});
  CHECK(queue.put_back("a", "aa", 1h) == PutBack::pending);
  CHECK(queue.put_back("a", "aa", 0ms) == PutBack::changed);  // its reply was lost: sent again
  CHECK(queue.complete(claim().ref, {"videos/a.mp4", "bb", 1}));
  CHECK(queue.put_back("a", "aa", 0ms) == PutBack::changed);  // made anew meanwhile
  CHECK(view("a").sha256 == "bb");
}

TEST_CASE_FIXTURE(Fixture, "a lease that ended before a job was put back completes it no more") {
  queue.submit({a_job("a")}, {});
  const Lease first = claim();
  CHECK(queue.complete(first.ref, {"videos/a.mp4", "aa", 1}));
  CHECK(queue.complete(first.ref, {"videos/a.mp4", "aa", 1}));  // its reply was lost
  queue.put_back("a", "aa", 0ms);
  CHECK(!queue.complete(first.ref, {"videos/a.mp4", "aa", 1}));
  CHECK(view("a").state == JobState::pending);
}

TEST_CASE_FIXTURE(Fixture, "a record keeps which file was seen to have its sha256") {
  queue.submit({a_job("a")}, {});
  queue.note_standing("a", "", "no");  // not done
  CHECK(view("a").stamp == "");
  CHECK(queue.complete(claim().ref, {"videos/a.mp4", "aa", 1, "first"}));
  CHECK(view("a").stamp == "first");
  queue.note_standing("a", "aa", "second");
  queue.note_standing("a", "bb", "third");
  CHECK(view("a").stamp == "second");
}
