#include "nightreel/rank/publisher.h"

#include <doctest/doctest.h>

#include <filesystem>

#include "nightreel/base/file.h"
#include "nightreel/base/hash.h"
#include "nightreel/base/json.h"
#include "nightreel/media/video.h"
#include "rank/fake_queue.h"
#include "support/error.h"
#include "support/temp_folder.h"

using namespace nightreel;
using namespace nightreel::rank;
using test::contains;
using test::thrown_by;

namespace {

const std::string kToken = "7-ab";
const std::string kNext = "8-ab";

void write_clip(const std::string& path, std::uint8_t grey) {
  const std::vector<std::uint8_t> rgb(5 * 16 * 16 * 3, grey);
  media::write_video(path, {5, 16, 16, rgb}, {});
}

// What a renderer has left for job "a", and where it is to go.
struct Fixture {
  test::TempFolder folder;
  OutputFolder out{folder.path()};
  test::FakeQueue jobs;
  Maker maker;
  Finished finished;
  queue::Published published;
  OutputSet to = out.final_names("a", true);
  OutputSet from = out.temporary_names({"a", "hash-a", kToken}, true);

  Fixture() {
    out.make();
    maker.ranks = {{"a", "GPU of 0", "GPU-0"}, {"a", "GPU of 1", "GPU-1"}, {"b", "GPU of 2", "GPU-2"}};
    finished.id = "a";
    finished.lease.hash = "hash-a";
    finished.lease.ref.token = kToken;
    finished.settings.width = finished.settings.height = finished.done.width = finished.done.height = 16;
    finished.settings.num_frames = finished.done.frames = 5;
    base::replace_file(out.checkpoint("a"), "state");
    write_temporaries();
  }
  void write_temporaries() {
    write_clip(from.video, 40);
    base::replace_file(from.sheet, "sheet");
    base::replace_file(from.archive, "archive");
  }
  Outcome publish(const std::function<bool()>& still_ours = [] { return true; }) {
    return Publisher(out, maker).publish(jobs, finished, still_ours, published);
  }
  std::size_t files() const {
    std::size_t count = 0;
    for (const char* sub : {"videos", "archive"}) {
      for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder / sub)) ++count;
    }
    return count;
  }
  static bool exists(const std::string& path) { return std::filesystem::exists(path); }
  protocol::Json sidecar_field(const std::string& name) const {
    return base::parse_json(base::read_file(to.sidecar, 1U << 20U)).at(name);
  }
  // A set under the final names, of job "a" with other content or of what the test says.
  void put_standing(const std::string& id, const std::string& hash) {
    write_clip(to.video, 200);
    base::replace_file(to.sidecar,
                       base::Json{{"id", id}, {"job_hash", hash}, {"sha256", base::sha256_file(to.video)}}.dump());
    base::replace_file(to.sheet, "old sheet");
    base::replace_file(to.archive, "old archive");
  }
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "a set gets its final names whole, and its checkpoint goes") {
  CHECK(publish() == Outcome::published);
  CHECK(published.video == "videos/a.mp4");
  CHECK(published.sha256 == base::sha256_file(to.video));
  CHECK(sidecar_field("sha256") == published.sha256);
  CHECK(base::read_file(to.archive, 100) == "archive");
  CHECK(files() == 4);
  CHECK(!exists(out.checkpoint("a")));
}

TEST_CASE_FIXTURE(Fixture, "the sidecar names the GPUs that rendered, whoever had the job") {
  maker.rank = 0;
  finished.ranks = {1, 2};  // the group has lost this rank's own renderer
  CHECK(publish() == Outcome::published);
  CHECK(sidecar_field("rank") == 0);
  CHECK(sidecar_field("host") == "a");
  CHECK(sidecar_field("ranks") == 2);
  CHECK(sidecar_field("gpu") == "GPU of 1");
  CHECK(sidecar_field("gpu_uuid") == "GPU-1");
  CHECK(sidecar_field("renderers").dump() == R"([{"gpu":"GPU of 1","gpu_uuid":"GPU-1","host":"a","rank":1},)"
                                             R"({"gpu":"GPU of 2","gpu_uuid":"GPU-2","host":"b","rank":2}])");
}

TEST_CASE_FIXTURE(Fixture, "a lease that ends between any two names publishes nothing") {
  for (int allowed = 0; allowed < 4; ++allowed) {  // asked before each name, the video's last of all
    CAPTURE(allowed);
    write_temporaries();
    int asked = 0;
    CHECK(publish([&] { return asked++ < allowed; }) == Outcome::stale);
    CHECK(asked == allowed + 1);
    CHECK(!exists(to.video));
    CHECK(exists(out.checkpoint("a")));
  }
  write_temporaries();
  CHECK(publish() == Outcome::published);  // what the stale attempts left is in nobody's way
  CHECK(base::read_file(to.sheet, 100) == "sheet");
}

TEST_CASE_FIXTURE(Fixture, "a rank that freezes after its last look at the lease changes nothing when it wakes") {
  for (const bool overwrite : {false, true}) {
    maker.overwrite = overwrite;
    for (int looks = 1; looks <= 4; ++looks) {
      CAPTURE(looks);
      CAPTURE(overwrite);
      for (const auto& path : {to.video, to.sidecar, to.sheet, to.archive}) base::remove_file(path);
      if (overwrite) put_standing("a", "to be replaced");
      write_temporaries();
      int asked = 0;
      const auto froze = [&] {  // meanwhile the next holder claims and publishes
        if (++asked != looks) return true;
        out.remove_earlier("a", kNext, {});
        put_standing("a", "hash-a");
        return true;
      };
      const std::string frozen = thrown_by([&] { publish(froze); }).message;
      CHECK(!frozen.empty());
      CHECK(base::read_file(to.sheet, 100) == "old sheet");
      CHECK(base::read_file(to.archive, 100) == "old archive");
      CHECK(sidecar_field("sha256") == base::sha256_file(to.video));
    }
  }
}

TEST_CASE_FIXTURE(Fixture, "the files of earlier attempts go, and no others") {
  // Of this incarnation, of an earlier one of the same queue (ee), and of version 0.1, which knew none.
  const std::vector<std::string> go{"videos/.a.mp4.0af3.6-ab.part",
                                    "videos/..a.mp4.0af3.6-ab.part.0af3.part",
                                    "videos/.a.json.1.part",
                                    "archive/.a.h5.2.part",
                                    "archive/..a.h5.5-ab.part.12.part",
                                    "checkpoints/.a.h5.0af3.part",
                                    "videos/.a.mp4.0af3.9-ee.part",
                                    "videos/.a.mp4.6-ab.part"};
  const std::vector<std::string> stay{
      "videos/.a.mp4.0af3.8-ab.part",     "videos/.aa.mp4.6-ab.part", "videos/.a.mp4.b.mp4.6-ab.part",
      "videos/a.mp4.6-ab.part",           "videos/.a.mp4.x.part",     "videos/.a.mp4.6-ab.parts",
      "videos/.a.txt.6-ab.part",          "archive/.b.h5.2-ab.part",  "checkpoints/.aa.h5.0af3.part",
      "checkpoints/.a.h5.b.h5.1.part",    "checkpoints/a.h5",         "videos/.a.mp4.6-.part",
      "videos/.a.mp4.0af3.6-cd.part",
      "videos/.a.mp4.0af3.6-ab-c.part",  // cd: another queue with this OUT
      "videos/.a.mp4.0af312345.6-ab.part"};
  for (const auto& names : {go, stay}) {
    for (const auto& name : names) base::replace_file(folder / name, "x");
  }
  out.remove_earlier("a", kToken, {"ee"});
  for (const auto& name : go) {
    CAPTURE(name);
    CHECK(!exists(folder / name));
  }
  for (const auto& name : stay) {
    CAPTURE(name);
    CHECK(exists(folder / name));
  }
  CHECK(exists(from.video));
}

TEST_CASE_FIXTURE(Fixture, "a closed fence leaves the final names alone") {
  base::replace_file(to.sheet, "another's");
  jobs.fence = queue::Fence::stale;
  CHECK(publish() == Outcome::stale);
  jobs.fence = queue::Fence::cancel_requested;
  CHECK(publish() == Outcome::cancel_requested);
  jobs.away = true;
  CHECK(thrown_by([&] { publish(); }).kind == base::ErrorKind::queue);
  CHECK(base::read_file(to.sheet, 100) == "another's");
  jobs = {};
  CHECK(publish() == Outcome::published);  // after a failed call the same again
}

TEST_CASE_FIXTURE(Fixture, "what a dead attempt left without its video is replaced") {
  base::replace_file(to.sheet, "dead");
  base::replace_file(to.sidecar, "dead");
  base::replace_file(to.archive, "dead");
  CHECK(publish() == Outcome::published);
  CHECK(base::read_file(to.sheet, 100) == "sheet");
}

TEST_CASE_FIXTURE(Fixture, "an earlier attempt that came through meanwhile stays, and is what is reported") {
  put_standing("a", "hash-a");
  const std::string stands = base::sha256_file(to.video);
  CHECK(publish() == Outcome::published);
  CHECK(published.sha256 == stands);
  CHECK(base::sha256_file(to.video) == stands);
  CHECK(base::read_file(to.sheet, 100) == "old sheet");
  CHECK(files() == 4);  // the temporary ones are gone
}

TEST_CASE_FIXTURE(Fixture, "what stands is kept, replaced on request, or never touched") {
  struct Row {
    std::string id;
    std::string hash;
    bool overwrite;
    const char* error;  // empty: published
  };
  const std::vector<Row> rows{
      {"a", "other", false, "the video of another job stands there; move it away, or start the run with --overwrite"},
      {"a", "other", true, ""},
      {"b", "hash-a", false, "without the sidecar of a job a; move it away"},
      {"b", "hash-a", true, "without the sidecar of a job a; move it away"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.id);
    CAPTURE(row.overwrite);
    maker.overwrite = row.overwrite;
    write_temporaries();
    put_standing(row.id, row.hash);
    const std::string before = base::sha256_file(to.video);
    if (*row.error == 0) {
      CHECK(publish() == Outcome::published);
      CHECK(base::sha256_file(to.video) != before);
      CHECK(base::read_file(to.archive, 100) == "archive");
      continue;
    }
    for (const bool publishing : {false, true}) {
      const auto thrown = thrown_by([&] {
        publishing ? static_cast<void>(publish()) : static_cast<void>(Publisher(out, maker).standing("a", "hash-a"));
      });
      CHECK(thrown.kind == base::ErrorKind::job);
      CHECK(contains(thrown.message, row.error));
    }
    CHECK(base::sha256_file(to.video) == before);
    CHECK(base::read_file(to.archive, 100) == "old archive");
  }
}

TEST_CASE_FIXTURE(Fixture, "a video that is not what its sidecar says is no finished job") {
  put_standing("a", "hash-a");
  write_clip(to.video, 90);
  for (const bool overwrite : {false, true}) {
    maker.overwrite = overwrite;
    write_clip(to.video, overwrite ? 90 : 91);
    const std::string aside = to.video + ".was-" + base::sha256_file(to.video).substr(0, 8);
    CHECK(!Publisher(out, maker).standing("a", "hash-a"));
    CHECK(!exists(to.video));
    CHECK(exists(aside));
  }
  CHECK(publish() == Outcome::published);
  CHECK(sidecar_field("sha256") == base::sha256_file(to.video));
  const Publisher publisher(out, maker);
  for (const char* broken : {"", "{", "[]", "{\"id\": 3}", "{\"id\": \"b\"}"}) {
    base::replace_file(to.sidecar, broken);
    CHECK_THROWS_AS(publisher.standing("a", "hash-a"), base::Error);
  }
  CHECK(exists(to.video));
}

TEST_CASE_FIXTURE(Fixture, "a set that is whole is replaced where it is asked for, and at that moment") {
  put_standing("a", "hash-a");
  finished.anew = [](const protocol::Json& sidecar) { return sidecar.at("id") == "a"; };
  CHECK(!Publisher(out, maker).standing("a", "hash-a", finished.anew));
  const std::string before = base::sha256_file(to.video);
  CHECK(publish([&] { return base::sha256_file(to.video) == before; }) == Outcome::published);
  CHECK(published.sha256 != before);
  CHECK(published.sha256 == base::sha256_file(to.video));
  CHECK(published.stamp == out.stamp_of_set("a"));
  CHECK(base::read_file(to.archive, 100) == "archive");
}

TEST_CASE_FIXTURE(Fixture,
                  "the sidecar keeps what the next run compares: crf, and what was in the files that the job names") {
  finished.settings.crf = 23;
  finished.inputs = {{"/loras/style.safetensors", "00ff"}};
  CHECK(publish() == Outcome::published);
  CHECK(sidecar_field("crf") == 23);
  CHECK(sidecar_field("inputs").dump() == R"({"/loras/style.safetensors":"00ff"})");
}

TEST_CASE_FIXTURE(Fixture, "a video of another codec than the settings say is not published") {
  finished.settings.codec = "hevc";
  const auto error = thrown_by([&] { publish(); });
  CHECK(error.kind == base::ErrorKind::storage);
  CHECK(contains(error.message, "its codec is h264, not hevc"));
  CHECK_FALSE(exists(to.video));
}

TEST_CASE_FIXTURE(Fixture, "of two jobs with one id in one OUT one gets all names, and the other fails by name") {
  Finished other = finished;  // of another queue, with a token like this one's
  other.lease.hash = "other";
  const OutputSet others = out.temporary_names({"a", "other", kToken}, true);
  const auto others_publish = [&] {
    queue::Published theirs;
    write_clip(others.video, 120);
    base::replace_file(others.sheet, "other sheet");
    base::replace_file(others.archive, "other archive");
    return Publisher(out, maker)
        .publish(
            jobs, other, [] { return true; }, theirs);
  };
  for (int look = 1; look <= 4; ++look) {  // theirs comes between any two names of ours
    CAPTURE(look);
    for (const auto& path : {to.video, to.sidecar, to.sheet, to.archive}) base::remove_file(path);
    write_temporaries();
    int asked = 0;
    std::string refused;
    const auto theirs_comes = [&] {
      if (++asked == look && look > 1) refused = thrown_by(others_publish).message;
      if (asked == look && look == 1) CHECK(others_publish() == Outcome::published);
      return true;
    };
    if (look == 1) {
      refused = thrown_by([&] { publish(theirs_comes); }).message;
    } else {
      CHECK(publish(theirs_comes) == Outcome::published);
    }
    CHECK_MESSAGE(contains(refused, "is of another job"), refused);
    CHECK_MESSAGE(contains(refused, "nightreel retry a"), refused);
    CHECK(sidecar_field("job_hash") == (look == 1 ? "other" : "hash-a"));
    CHECK(sidecar_field("sha256") == base::sha256_file(to.video));
    CHECK(base::read_file(to.sheet, 100) == (look == 1 ? "other sheet" : "sheet"));
    CHECK(base::read_file(to.archive, 100) == (look == 1 ? "other archive" : "archive"));
  }
  CHECK(contains(thrown_by([&] { Publisher(out, maker).standing("a", "other"); }).message, "another job stands there"));
}

TEST_CASE_FIXTURE(Fixture, "two runs that overwrite each other's set leave no mixed one") {
  maker.overwrite = true;
  Finished other = finished;
  other.lease.hash = "other";
  const OutputSet others = out.temporary_names({"a", "other", kToken}, true);
  for (int look = 1; look <= 4; ++look) {
    CAPTURE(look);
    put_standing("a", "to be replaced");
    write_temporaries();
    int asked = 0;
    const auto theirs_comes = [&] {
      if (++asked != look) return true;
      queue::Published theirs;
      write_clip(others.video, 120);
      base::replace_file(others.sheet, "other sheet");
      base::replace_file(others.archive, "other archive");
      CHECK(Publisher(out, maker)
                .publish(
                    jobs, other, [] { return true; }, theirs) == Outcome::published);
      return true;
    };
    if (look == 1) {
      CHECK(publish(theirs_comes) == Outcome::published);
    } else {  // the sidecar is theirs by then
      const std::string refused = thrown_by([&] { publish(theirs_comes); }).message;
      CHECK_MESSAGE(contains(refused, "another job has taken this id"), refused);
    }
    const bool mixed = exists(to.video) && sidecar_field("sha256") != base::sha256_file(to.video);
    CHECK(!mixed);
  }
}

TEST_CASE_FIXTURE(Fixture, "what another queue's job has begun to publish, or died of, is not taken") {
  base::replace_file(to.sidecar, base::Json{{"id", "a"}, {"job_hash", "other"}, {"sha256", "x"}}.dump());
  const auto refused = thrown_by([&] { Publisher(out, maker).standing("a", "hash-a"); });
  CHECK(refused.kind == base::ErrorKind::job);
  CHECK(contains(refused.message, "is of another job, which is being published"));
  CHECK(contains(thrown_by([&] { publish(); }).message, "is of another job"));
  CHECK(!exists(to.video));
  maker.overwrite = true;
  write_temporaries();
  CHECK(publish() == Outcome::published);
}

TEST_CASE_FIXTURE(Fixture, "a file is set aside under a free name, and only the file that was looked at") {
  put_standing("a", "hash-a");
  const std::string stamp = out.stamp_of_video("a");
  CHECK(!out.set_aside("a", "another stamp", "0123456789"));
  base::replace_file(to.video + ".was-01234567", "somebody's");
  CHECK(out.set_aside("a", stamp, "0123456789") == to.video + ".was-01234567-2");
  CHECK(base::read_file(to.video + ".was-01234567", 100) == "somebody's");
  CHECK(!exists(to.video));
  CHECK(!out.set_aside("a", stamp, "0123456789"));
  CHECK(out.stamp_of_video("a") == "");
}

TEST_CASE_FIXTURE(Fixture, "a video with too few frames, or that does not decode, is not published") {
  finished.done.frames = 9;
  CHECK(contains(thrown_by([&] { publish(); }).message, "5 frames of 16x16, not 9 of 16x16"));
  finished.done.frames = 5;
  base::replace_file(from.video, "no video");
  CHECK(thrown_by([&] { publish(); }).kind == base::ErrorKind::storage);
  CHECK(!exists(to.video));
}

TEST_CASE_FIXTURE(Fixture, "discarding removes one attempt's files and no other's") {
  const OutputSet other = out.temporary_names({"a", "hash-a", kNext}, true);
  const OutputSet longer = out.temporary_names({"aa", "hash-a", kToken}, true);
  base::replace_file(other.video, "x");
  base::replace_file(longer.video, "x");
  base::replace_file(folder / "archive/..a.h5.hash0a.7-ab.part.0123.part", "half");  // of a renderer that was killed
  Publisher(out, maker).discard({"a", "hash-a", kToken});
  CHECK(files() == 2);
  CHECK(exists(other.video));
  CHECK(exists(longer.video));
}

TEST_CASE_FIXTURE(Fixture, "temporary files that are older than a day are swept, and nothing else") {
  const std::string old = out.temporary_names({"gone", "hash", "3-ab"}, true).video;
  const std::string whole = folder / "videos/.hidden";
  const std::string waiting = out.checkpoint("waiting");
  for (const auto& path : {old, whole, to.video, out.checkpoint("a"), waiting}) {
    base::replace_file(path, "x");
    std::filesystem::last_write_time(path, std::filesystem::file_time_type::clock::now() - std::chrono::hours(25));
  }
  CHECK(out.sweep(std::chrono::hours(24)) == 2);
  CHECK(!exists(old));
  CHECK(!exists(out.checkpoint("a")));  // its video is out
  CHECK(exists(waiting));
  CHECK(exists(whole));
  CHECK(exists(to.video));
  CHECK(exists(from.video));
}
