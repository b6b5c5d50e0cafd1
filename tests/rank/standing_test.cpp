// What is done in the queue against what stands in OUT.
#include "rank/standing.h"

#include <doctest/doctest.h>

#include <filesystem>

#include "nightreel/base/file.h"
#include "nightreel/base/hash.h"
#include "nightreel/base/json.h"
#include "nightreel/rank/standing_watch.h"
#include "rank/fake_queue.h"
#include "support/comes.h"
#include "support/error.h"
#include "support/temp_folder.h"

using namespace nightreel;
using namespace nightreel::rank;
using namespace std::chrono_literals;
using queue::JobState;

namespace {

// Job "a", done by this host, its whole set in OUT.
struct DoneJob {
  test::TempFolder folder;
  OutputFolder out{folder.path()};
  test::FakeQueue jobs;
  std::string video = out.final_names("a", false).video;
  std::string sidecar = out.final_names("a", false).sidecar;
  std::string sha256 = base::sha256_hex("a video");

  DoneJob() {
    out.make();
    base::replace_file(video, "a video");
    write_sidecar("hash-a", sha256);
    queue::JobView& view = jobs.views["a"];
    view.id = "a";
    view.state = JobState::done;
    view.out = out.root();
    view.host = "here";
    view.sha256 = sha256;
    view.hash = "hash-a";
  }
  void write_sidecar(const std::string& hash, const std::string& sha) const {
    base::replace_file(sidecar, base::Json{{"id", "a"}, {"job_hash", hash}, {"sha256", sha}}.dump());
  }
  Stands look() {
    return Standing(out, jobs, {"here"}, base::Logger()).look({"a", "unknown"}, [] { return false; });
  }
  // Asked once for the job, and once more for each piece of its file that is read.
  bool was_read() {
    int asked = 0;
    CHECK(Standing(out, jobs, {"here"}, base::Logger()).look({"a"}, [&] { return ++asked > 9; }) == Stands::all);
    return asked > 1;
  }
  JobState state() { return jobs.views["a"].state; }
  std::string aside(const std::string& content) const {
    return video + ".was-" + base::sha256_hex(content).substr(0, 8);
  }
};

}  // namespace

TEST_CASE_FIXTURE(DoneJob,
                  "a video that is what its sidecar says is read once, and again when one of the two was written") {
  CHECK(was_read());
  CHECK(jobs.views["a"].stamp == out.stamp_of_set("a"));
  CHECK(!was_read());
  base::replace_file(video, "a video");
  CHECK(was_read());
  CHECK(!was_read());
  write_sidecar("hash-a", sha256);
  CHECK(was_read());
  CHECK(!was_read());
}

TEST_CASE_FIXTURE(DoneJob, "a video without its sidecar is set aside, since nothing says what it is") {
  CHECK(look() == Stands::all);
  base::remove_file(sidecar);
  CHECK(look() == Stands::put_back);
  CHECK(std::filesystem::exists(aside("a video")));
}

TEST_CASE_FIXTURE(DoneJob, "a done job whose video is gone is put back") {
  base::remove_file(video);
  CHECK(look() == Stands::put_back);
  CHECK(state() == JobState::pending);
  CHECK(look() == Stands::all);  // of those that are done
}

TEST_CASE_FIXTURE(DoneJob, "the whole folder may be gone") {
  std::filesystem::remove_all(folder / "videos");
  CHECK(look() == Stands::put_back);
}

TEST_CASE_FIXTURE(DoneJob, "another host's video may be late to be seen here: for a minute it is not gone") {
  jobs.views["a"].host = "there";
  base::remove_file(video);
  jobs.record_age = 59s;
  CHECK(look() == Stands::unsure);
  CHECK(state() == JobState::done);
  jobs.record_age = 60s;
  CHECK(look() == Stands::put_back);
}

TEST_CASE_FIXTURE(DoneJob, "a file that is not what its sidecar says is set aside, and never removed") {
  for (const char* content : {"a vide", "A video"}) {  // of another size, of the same
    CAPTURE(content);
    jobs.views["a"].state = JobState::done;
    base::replace_file(video, content);
    CHECK(look() == Stands::put_back);
    CHECK(state() == JobState::pending);
    CHECK(!std::filesystem::exists(video));
    CHECK(base::read_file(aside(content), 100) == content);
  }
  jobs.views["a"].state = JobState::done;
  base::replace_file(video, "A video");  // again
  CHECK(look() == Stands::put_back);
  CHECK(base::read_file(aside("A video"), 100) == "A video");
  CHECK(base::read_file(aside("A video") + "-2", 100) == "A video");
}

TEST_CASE_FIXTURE(DoneJob, "a set that is being replaced meanwhile is nobody's to set aside") {
  base::replace_file(video, "A video");
  const auto claimed = [&] {
    jobs.views["a"].state = JobState::running;
    return false;
  };
  CHECK(Standing(out, jobs, {"here"}, base::Logger()).look({"a"}, claimed) == Stands::unsure);
  CHECK(base::read_file(video, 100) == "A video");
}

TEST_CASE_FIXTURE(DoneJob, "another job's whole set stays where it is") {
  write_sidecar("another", sha256);
  CHECK(look() == Stands::put_back);
  CHECK(base::read_file(video, 100) == "a video");
}

TEST_CASE_FIXTURE(DoneJob, "a set whose sha256 the queue does not know is claimed again, and stays") {
  jobs.views["a"].sha256 = "older";
  CHECK(look() == Stands::put_back);
  CHECK(base::read_file(video, 100) == "a video");
}

TEST_CASE_FIXTURE(DoneJob, "jobs of another OUT, and jobs that are not done, are nobody's to look at") {
  base::remove_file(video);
  jobs.views["a"].out = "/elsewhere";
  CHECK(look() == Stands::all);
  jobs.views["a"].out = out.root();
  for (const JobState other : {JobState::pending, JobState::running, JobState::failed, JobState::cancelled}) {
    jobs.views["a"].state = other;
    CHECK(look() == Stands::all);
    CHECK(state() == other);
  }
}

TEST_CASE_FIXTURE(DoneJob, "a file that cannot be read is an error, and the others are looked at all the same") {
  jobs.views["b"] = jobs.views["a"];
  jobs.views["b"].id = "b";
  std::filesystem::remove(video);
  std::filesystem::create_directory(video);
  Standing standing(out, jobs, {"here"}, base::Logger());
  const auto error = test::thrown_by([&] { standing.look({"a", "b"}, [] { return false; }); });
  CHECK(error.kind == base::ErrorKind::storage);
  CHECK_MESSAGE(test::contains(error.message, video), error.message);
  CHECK(jobs.views["b"].state == JobState::pending);
}

TEST_CASE_FIXTURE(DoneJob, "a look that is stopped says nothing") {
  CHECK(Standing(out, jobs, {"here"}, base::Logger()).look({"a"}, [] { return true; }) == Stands::unsure);
  CHECK(jobs.views["a"].stamp == "");
}

TEST_CASE_FIXTURE(DoneJob, "the watch answers each question with a look of its own") {
  auto owned = std::make_unique<test::FakeQueue>(jobs);
  test::FakeQueue& seen = *owned;
  const auto share = [](queue::JobQueue&) { return std::vector<std::string>{"a"}; };
  StandingWatch watch(std::move(owned), {}, out, "here", share, base::Logger());
  CHECK(test::comes([&] { return watch.content(); }));
  base::remove_file(video);
  CHECK(test::comes([&] { return !watch.content(); }));
  CHECK(test::comes([&] { return watch.content(); }));  // of what is done now
  CHECK(seen.views["a"].state == JobState::pending);
}

TEST_CASE("shares are all of the ids, each once, whatever their order") {
  std::vector<std::string> ids;
  for (int i = 0; i < 200; ++i) ids.push_back("job-" + std::to_string(i));
  std::size_t count = 0;
  for (int index = 0; index < 3; ++index) {
    const auto share = share_of(ids, index, 3);
    CHECK(share.size() > 30);
    CHECK(share_of(share, index, 3) == share);
    count += share.size();
  }
  CHECK(count == ids.size());
  CHECK(share_of(ids, 0, 1) == ids);
}
