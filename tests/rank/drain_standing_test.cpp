// What stands in OUT, beside the drain loop: made again where it is gone, replaced where that is asked for. And
// deadlines.
#include <thread>

#include "nightreel/base/hash.h"
#include "nightreel/rank/standing_watch.h"
#include "rank/night.h"
#include "rank/standing.h"
#include "support/error.h"

using namespace nightreel;
using namespace nightreel::test;
using queue::JobState;

namespace {

struct Looked : Night {
  std::unique_ptr<rank::StandingWatch> watch(std::vector<std::string> ids) {
    auto own = std::make_unique<queue::RedisQueue>(server.queue_options());
    const base::CancelToken stop;
    own->set_patience({2s, stop, true});
    const auto share = [ids](queue::JobQueue&) { return ids; };
    return std::make_unique<rank::StandingWatch>(std::move(own), stop, rank::OutputFolder(folder / "out"), "node",
                                                 share, base::Logger());
  }
  report::RankSummary drain_looking(const std::vector<std::string>& ids) {
    const auto watching = watch(ids);
    Rank one = rank();
    one.content = [&] { return watching->content(); };
    return one.drain();
  }
  base::Json sidecar(const std::string& id) { return base::read_json(folder / ("out/videos/" + id + ".json")); }
};

}  // namespace

TEST_CASE_FIXTURE(Looked, "a done job whose video is gone is made again, and the others are left alone") {
  for (const char* id : {"a", "b"}) add(id, "a circle");
  drain();
  const auto kept = base::file_stamp(video("b"));
  base::remove_file(video("a"));
  const auto summary = drain_looking({"a", "b"});
  CHECK(summary.jobs.size() == 1);
  for (const char* id : {"a", "b"}) check_done(id, 1);
  CHECK(base::file_stamp(video("b")) == kept);
  CHECK(litter() == 0);
}

TEST_CASE_FIXTURE(Looked, "what is put back after the queue was found to be drained is made all the same") {
  add("a", "a circle");
  drain();
  base::remove_file(video("a"));
  Rank one = rank();
  bool first = true;
  one.content = [&] {  // an earlier look puts it back, and the last one finds nothing amiss any more
    if (std::exchange(first, false)) jobs.put_back("a", view("a").sha256, 0ms);
    return true;
  };
  one.drain();
  check_done("a", 1);
}

TEST_CASE_FIXTURE(Looked, "ranks look at a share each, and what one puts back any of them makes") {
  std::vector<std::string> ids;
  for (int i = 0; i < 8; ++i) ids.push_back("job" + std::to_string(i));
  for (const auto& id : ids) add(id, "a circle");
  drain();
  for (const auto& id : ids) base::remove_file(video(id));
  Rank one = rank(0);
  Rank two = rank(1);
  const auto first = watch(rank::share_of(ids, 0, 2));
  const auto second = watch(rank::share_of(ids, 1, 2));
  one.content = [&] { return first->content(); };
  two.content = [&] { return second->content(); };
  report::RankSummary by_one;
  std::jthread other([&] { by_one = one.drain(); });
  const auto by_two = two.drain();
  other.join();
  CHECK(by_one.jobs.size() + by_two.jobs.size() == ids.size());
  for (const auto& id : ids) check_done(id, 1);
}

TEST_CASE_FIXTURE(Looked, "a video that is deleted while others are made is made again before the run ends") {
  add("a", "a circle");
  drain();
  add("b", "until=deleted");
  std::jthread hand([&] {
    CHECK(starts("b"));
    base::remove_file(video("a"));
    folder.write("deleted", "1");
  });
  drain_looking({"a", "b"});
  hand.join();
  for (const char* id : {"a", "b"}) check_done(id, 1);
}

TEST_CASE_FIXTURE(Looked, "a file that is not what its sidecar says is set aside, and its video made again") {
  add("a", "a circle");
  drain();
  const std::string whole = view("a").sha256;
  base::replace_file(video("a"), "cut off");
  drain_looking({"a"});
  check_done("a", 1);
  CHECK(base::sha256_file(video("a")) == whole);
  CHECK(base::read_file(video("a") + ".was-" + base::sha256_hex("cut off").substr(0, 8), 100) == "cut off");
}

TEST_CASE_FIXTURE(Looked, "what this run published is not read again") {
  add("a", "a circle");
  drain();
  int asked = 0;  // once for the job, and once more for each piece of its file that is read
  rank::Standing standing(rank::OutputFolder(folder / "out"), jobs, {"node"}, base::Logger());
  CHECK(standing.look({"a"}, [&] { return ++asked > 1; }) == rank::Stands::all);
  CHECK(drain_looking({"a"}).jobs.empty());
}

TEST_CASE_FIXTURE(Looked, "a finished video that was made otherwise is kept, and with overwrite made anew") {
  add("a", "a circle");
  drain();
  const auto old = base::file_stamp(video("a"));
  base::Json told = sidecar("a");
  told["crf"] = 40;
  base::replace_file(folder / "out/videos/a.json", told.dump());
  for (const bool overwrite : {false, true}) {
    CAPTURE(overwrite);
    CHECK(jobs.put_back("a", view("a").sha256, 0ms) == queue::PutBack::pending);
    Rank one = rank();
    one.options.overwrite = overwrite;
    one.drain();
    check_done("a", 1);
    CHECK((base::file_stamp(video("a")) == old) == !overwrite);
    CHECK(sidecar("a").at("crf") == (overwrite ? 18 : 40));
  }
  const auto made = base::file_stamp(video("a"));
  CHECK(jobs.put_back("a", view("a").sha256, 0ms) == queue::PutBack::pending);
  Rank again = rank();
  again.options.overwrite = true;  // alike by now
  again.drain();
  CHECK(base::file_stamp(video("a")) == made);
}

TEST_CASE_FIXTURE(Looked, "a job that is to be made again is, although it is made alike") {
  for (const char* id : {"a", "b"}) add(id, "a circle");
  drain();
  const auto old = base::file_stamp(video("a"));
  const auto other = base::file_stamp(video("b"));
  for (const char* id : {"a", "b"}) jobs.put_back(id, view(id).sha256, 0ms);
  Rank one = rank();
  one.options.again = {"a"};
  one.drain();
  for (const char* id : {"a", "b"}) check_done(id, 1);
  CHECK(base::file_stamp(video("a")) != old);
  CHECK(base::file_stamp(video("b")) == other);
}

TEST_CASE_FIXTURE(Looked,
                  "a sidecar says what was in the LoRA, and nothing where that changed while the video was made") {
  const std::string lora = folder.write("style.safetensors", "one");
  const base::Json with{{"loras", {{{"path", lora}}}}};
  add("a", "a circle", with);
  add("b", "until=changed", with);
  std::jthread hand([&] {
    CHECK(starts("b"));
    CHECK(comes([&] { return view("b").progress.stage == "denoise"; }));
    base::replace_file(lora, "two");
    folder.write("changed", "1");
  });
  drain();
  hand.join();
  const std::string one = base::xxh128_hex("one");
  CHECK(sidecar("a").at("inputs").at(lora) == one);
  CHECK(sidecar("b").at("inputs").at(lora) == "");
}

TEST_CASE_FIXTURE(Looked, "a job whose like took longer than is left before the deadline is not begun") {
  add("a", "a circle");
  Rank one = rank();
  one.options.deadline_ms = base::now_ms() + 3'600'000;
  const auto settings_of = [](std::int64_t frames) {
    settings::Settings settings;
    settings.width = settings.height = 16;
    settings.num_frames = frames;
    return settings;
  };
  one.past.add(settings_of(5), 7200);
  const auto summary = one.drain();
  CHECK(summary.stopped_early);
  CHECK(view("a").state == JobState::pending);
  CHECK(view("a").attempts == 0);
  CHECK(!has_video("a"));

  Rank two = rank();  // of the same moment, for which nothing tells that it is too near
  two.options.deadline_ms = one.options.deadline_ms;
  two.past.add(settings_of(9), 7200);
  CHECK(!two.drain().stopped_early);
  check_done("a", 1);
}

TEST_CASE_FIXTURE(Looked, "a deadline is a moment of the clock: one that has passed lets nothing begin") {
  add("a", "a circle");
  Rank one = rank();
  one.options.deadline_ms = base::now_ms() - 1;
  CHECK(one.drain().stopped_early);
  CHECK(view("a").state == JobState::pending);
  CHECK(view("a").attempts == 0);
}
