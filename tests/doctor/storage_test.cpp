#include "doctor/storage.h"

#include <filesystem>

#include "doctor/model.h"
#include "doctor/support.h"
#include "nightreel/base/publishing.h"
#include "support/error.h"
#include "support/temp_folder.h"

namespace nightreel::doctor {
namespace {

constexpr std::uint64_t kGiB = 1U << 30U;

TEST_CASE("a folder that works has facts, and nothing is left in it") {
  const test::TempFolder folder;
  const StorageFacts facts = storage_facts(folder / "new/out", true);
  CHECK(facts.free_bytes > 0);
  CHECK(facts.write_mb_s > 0);
  CHECK_FALSE(facts.file_system.empty());
  CHECK(std::filesystem::is_empty(folder / "new/out"));
  CHECK(storage_facts(folder / "new/out", false).write_mb_s <= 0);
}

TEST_CASE("a folder that cannot be made or written to is an error that names it") {
  const test::TempFolder folder;
  folder.write("file", "x");
  for (const std::string& out :
       std::vector<std::string>{folder / "file", folder / "file/out", std::string("/proc/nightreel-out")}) {
    const auto error = test::thrown_by([&] { storage_facts(out, false); });
    CHECK(error.kind == base::ErrorKind::storage);
    CHECK_MESSAGE(test::contains(error.message, out), error.message);
  }
}

TEST_CASE("storage is judged over all ranks") {
  const Places places = places_of({1, 1});
  auto answers = all_say(places, StorageFacts{"nfs", 100 * kGiB, 250, 12});
  check_says(judge_storage(places, answers), "storage", Level::ok, {"work on nfs", "250 MB/s", "12 ms"});
  answers[1].facts.sync_ms = 900;
  check_says(judge_storage(places, answers), "storage", Level::warning, {"900 ms"});
  answers[1].facts.file_system = "ext4";
  check_says(judge_storage(places, answers), "storage", Level::warning, {"ext4 (rank 1 on host b)"});
  answers[1].problem = "cannot make /out: Read-only file system";
  check_says(judge_storage(places, answers), "storage", Level::failure,
             {"rank 1 on host b: cannot make /out: Read-only file system", "mount"});
  answers[1].problem = std::string("/out/x: ") + base::kNoPublishing + "; " + base::kPublishingFix;
  check_says(judge_storage(places, answers), "storage", Level::failure,
             {"neither hard links", "take an OUT on a local"});
  for (const auto& finding : judge_storage(places, answers)) CHECK(!test::contains(finding.fix, "mount"));
}

TEST_CASE("free space is held against a video a rank and against the queue") {
  constexpr VideoBytes kVideo{100U << 20U, 200U << 20U};
  check_says({judge_space(10 * kGiB, 20, 4, kVideo)}, "space", Level::ok, {"20 jobs"});
  check_says({judge_space(10 * kGiB, 1000, 4, kVideo)}, "space", Level::warning,
             {"1000 jobs", "97.7 GiB", "--min-free"});
  check_says({judge_space(kGiB / 10, 1, 4, kVideo)}, "space", Level::failure, {"0.781 GiB of one video a rank"});
  check_says({judge_space(10 * kGiB, 1, 4, kVideo)}, "space", Level::ok, {"(1 job)", "0.0977 GiB"});
  check_says({judge_space(10 * kGiB, 0, 4, kVideo)}, "space", Level::ok, {"nothing is queued"});
  check_says({judge_space(10 * kGiB, std::nullopt, 4, kVideo)}, "space", Level::ok, {"no queue"});
}

TEST_CASE("the room for the videos that wait is that of their own sizes") {
  const auto plain = bytes_a_video(std::nullopt);
  CHECK(plain > 50'000'000);  // six times the latents of 832x480, 81 frames, alone are 50 MB
  CHECK(plain < 100'000'000);
  const VideoSize large{720, 1280, 161};
  const auto most = bytes_a_video(std::nullopt, large);
  CHECK(most > 4 * plain);
  CHECK(bytes_a_video(std::nullopt, {480, 0, 81}) == plain);
  CHECK(bytes_of(std::nullopt, {}).mean == plain);
  const auto both = bytes_of(std::nullopt, {large, {}});
  CHECK(both.largest == most);
  CHECK(both.mean == (most + plain) / 2);
}

TEST_CASE("a size is read from what is in Redis, whoever put it there") {
  struct Case {
    const char* text;
    std::int64_t height, width, num_frames;
  };
  const Case cases[]{{R"({"height": 720, "width": 1280, "num_frames": 81, "prompt": "x"})", 720, 1280, 81},
                     {R"({"folder": "/jobs", "spec": {"width": 64}})", 0, 64, 0},
                     {R"({"height": -1, "width": "64", "num_frames": 1e300})", 0, 0, 0},
                     {R"({"height": 18446744073709551615, "width": 1.5})", 0, 0, 0},
                     {R"({"spec": 7})", 0, 0, 0},
                     {"[1, 2]", 0, 0, 0},
                     {"{", 0, 0, 0},
                     {"", 0, 0, 0}};
  for (const Case& one : cases) {
    const VideoSize size = video_size(one.text);
    CHECK_MESSAGE(size.height == one.height, one.text);
    CHECK_MESSAGE(size.width == one.width, one.text);
    CHECK_MESSAGE(size.num_frames == one.num_frames, one.text);
  }
}

TEST_CASE("a model is the same on all hosts, or it is told how it differs") {
  const Places places = places_of({2, 1});
  std::vector<Answer<CardFacts>> cards(3);  // the host's other ranks do not look
  cards[0].facts = {"Wan2.1 (t2v)", 28'000'000'000};
  cards[2].facts = {"Wan2.1 (t2v)", 1};
  std::vector<Answer<DigestFacts>> digests(3);
  digests[0].facts = {"aa", 12};
  digests[2].facts = {"aa", 70};
  check_says(judge_model(places, cards, digests), "model", Level::ok, {"Wan2.1 (t2v), 28 GB", "digest aa", "1 min"});
  digests[2].facts.digest = "bb";
  check_says(judge_model(places, cards, digests), "model", Level::failure,
             {"aa (rank 0 on host a); bb (rank 2 on host b)", "copy one model"});
  digests[2].problem = "/models: cannot be read";
  check_says(judge_model(places, cards, digests), "model", Level::failure, {"rank 2 on host b: /models"});
  auto broken = cards;
  broken[0].problem = "/models: no such folder";
  check_says(judge_model(places, broken, {}), "model", Level::failure, {"rank 0 on host a: /models: no such folder"});
}

TEST_CASE("a model's folder that is not there is named") {
  const test::TempFolder folder;
  const auto error = test::thrown_by([&] { card_facts(folder / "none"); });
  CHECK(error.kind == base::ErrorKind::model);
  CHECK_MESSAGE(test::contains(error.message, folder / "none"), error.message);
}

TEST_CASE("a model may be read as slowly as bad storage is") {
  CHECK(reading_limit(126'000'000'000) == std::chrono::seconds(6300));
  CHECK(reading_limit(0) == std::chrono::seconds(0));
}

}  // namespace
}  // namespace nightreel::doctor
