// submit, status, cancel and retry as a user types them, on a Redis that is named and on OUT's own.
#include <doctest/doctest.h>
#include <sys/stat.h>

#include <nlohmann/json.hpp>
#include <set>

#include "app/refusal.h"
#include "nightreel/queue/redis_queue.h"
#include "queue/queue_fixture.h"

using namespace nightreel;
using nlohmann::json;
using test::call;
using test::check_refused;
using test::contains;
using test::Ended;
using test::line_of;
using test::repository;
using test::TempFolder;
using Words = std::vector<std::string>;

namespace {

// Commands on a queue: what `on` names.
struct Commands {
  TempFolder folder;
  Words on;

  Ended operator()(Words words, const test::How& how = {}) const {
    words.insert(words.end(), on.begin(), on.end());
    return call(words, how);
  }
  Ended submit(const std::string& lines, const Words& flags = {}) const {
    Words words{"submit", folder.write("jobs.jsonl", lines)};
    words.insert(words.end(), flags.begin(), flags.end());
    return (*this)(words);
  }
  json status(const Words& flags = {}) const {
    Words words{"status", "--json"};
    words.insert(words.end(), flags.begin(), flags.end());
    const Ended ended = (*this)(words);
    INFO(ended.said());
    REQUIRE(ended.code == 0);
    CHECK(ended.log.empty());
    return json::parse(ended.out);
  }
};

// On a Redis of the test's own.
struct Named : Commands {
  test::QueueFixture fixture;
  Named() { on = {"--redis", url()}; }
  std::string url() const { return "unix://" + fixture.server.address().unix_path; }

  queue::Lease claimed() { return fixture.claim(); }
  void fail(const queue::Lease& lease, const std::string& why) {
    CHECK(fixture.queue.fail(lease.ref, {"job", why, /*permanent=*/true, false}) == queue::JobState::failed);
  }
};

unsigned mode_of(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 ? info.st_mode & 07777U : 0;
}

}  // namespace

TEST_CASE("submit adds what is new, knows what was there, and --overwrite replaces other content") {
  Named commands;
  CHECK(commands.submit(line_of("a") + line_of("b")).out == "2 added, 0 known already\n");
  CHECK(commands.submit(line_of("a") + line_of("b")).out == "0 added, 2 known already\n");
  const Ended piped = commands({"submit", "-"}, {{}, line_of("c") + line_of("a"), {}});
  CHECK(piped.out == "1 added, 1 known already\n");
  CHECK(piped.code == 0);
  CHECK(piped.log.empty());

  const std::string changed = line_of("new") + line_of("a", R"(,"seed":2)");
  check_refused(commands.submit(changed), 2, {commands.folder / "jobs.jsonl:2: id: a", "--overwrite"});
  CHECK(commands.status().at("pending") == 3);  // a refused file adds nothing
  CHECK(commands.submit(changed, {"--overwrite"}).out == "2 added, 0 known already\n");
  CHECK(commands.status().at("pending") == 4);
  CHECK(contains(commands.fixture.field("a", "spec"), R"("seed":2)"));
}

TEST_CASE("submit refuses what is wrong without a model, with one what it judges, and adds nothing") {
  Named commands;
  check_refused(commands.submit(line_of("a") + R"({"promt":"x"})"), 2,
                {commands.folder / "jobs.jsonl:2: promt", "did you mean prompt?"});
  check_refused(commands({"submit", "-"}, {{}, R"({"prompt":1})", {}}), 2, {"stdin:1: prompt"});
  check_refused(commands({"submit", commands.folder / "missing.jsonl"}), 2, {"missing.jsonl"});
  const std::string high = line_of("a", R"(,"height":50)");
  const std::string shapes = repository("models/shapes");
  check_refused(commands.submit(high, {"--model", shapes}), 2, {commands.folder / "jobs.jsonl:1: height", "48"});
  check_refused(commands.submit(line_of("a"), {"--model", commands.folder / "nowhere"}), 3, {"nowhere"});
  check_refused(commands.submit(high, {"--model", shapes, "--recipe", "best"}), 2, {"best"});
  const std::string outside = line_of("a", R"(,"image":"jobs.jsonl")");
  base::make_folders(commands.folder / "inputs");
  check_refused(commands.submit(outside, {"--input-root", commands.folder / "inputs"}), 2,
                {"jobs.jsonl:1: image", commands.folder / "inputs"});
  commands.folder.write("x.png", "GIF89a");
  check_refused(commands.submit(line_of("b") + line_of("a", R"(,"image":"x.png")")), 2,
                {"jobs.jsonl:2: image: ", "x.png: is no PNG, JPEG or WebP picture: it is a GIF picture"});
  check_refused(commands({"submit"}), 2, {"jobs is required"});
  CHECK(commands.fixture.raw.command({"DBSIZE"}).integer() == 0);
  CHECK(commands.submit(high).code == 0);  // nobody asked the model
}

TEST_CASE("a job belongs to the OUT that submit names") {
  Named commands;
  CHECK(commands.submit(line_of("a"), {"--out", commands.folder / "x/../out"}).code == 0);
  CHECK(commands.fixture.view("a").out == commands.folder / "out");
  CHECK_FALSE(std::filesystem::exists(commands.folder / "out"));  // a Redis was named: no private one is made
}

TEST_CASE("status tells what runs, failed and waits, for programs and for people") {
  Named commands;
  CHECK(commands.submit(line_of("runs", R"(,"priority":2)") + line_of("fails", R"(,"priority":1)") + line_of("waits"))
            .code == 0);
  const auto running = commands.claimed();
  CHECK(commands.fixture.queue.renew(running.ref, {"denoise", 5, 20, 30.0}).held);
  commands.fail(commands.claimed(), "no \x1b[31m good \xff");
  const json seen = commands.status();
  json counts = seen;
  counts.erase("jobs");
  CHECK(counts == json{{"queue", "default"},
                       {"pending", 1},
                       {"delayed", 0},
                       {"running", 1},
                       {"done", 0},
                       {"failed", 1},
                       {"cancelled", 0}});
  REQUIRE(seen.at("jobs").size() == 2);
  CHECK(seen.at("jobs")[0] == json{{"id", "runs"},
                                   {"state", "running"},
                                   {"attempts", 1},
                                   {"rank", 0},
                                   {"host", "node"},
                                   {"step", 5},
                                   {"steps", 20},
                                   {"eta_s", 30.0},
                                   {"error", nullptr}});
  const json& failed = seen.at("jobs")[1];
  CHECK(failed.at("state") == "failed");
  CHECK(failed.at("error") == json{{"kind", "job"}, {"message", "no \\x1b[31m good \xef\xbf\xbd"}});

  const json everything = commands.status({"--all"});
  std::set<std::string> all;
  for (const auto& job : everything.at("jobs")) all.insert(job.at("id").get<std::string>());
  CHECK(all == std::set<std::string>{"runs", "fails", "waits"});

  const std::string text = commands({"status"}).out;
  INFO(text);
  CHECK(contains(text, "queue default: 0 done, 1 running, 1 waiting, 1 failed\n"));
  CHECK(contains(text, "  rank 0 (node)  runs  denoise 5/20  [#####...............]  30 s left\n"));
  CHECK(contains(text, "  fails  failed  no \\x1b[31m good \xff\n"));
  CHECK_FALSE(contains(text, "waits"));
  CHECK(contains(commands({"status", "--all"}).out, "  waits  pending\n"));
}

TEST_CASE("cancel ends what waits, asks who holds it, and says what it could not do") {
  Named commands;
  commands.submit(line_of("held", R"(,"priority":1)") + line_of("a") + line_of("b"));
  commands.claimed();
  CHECK(commands({"cancel", "a", "b"}).out == "a: cancelled\nb: cancelled\n");
  const Ended ended = commands({"cancel", "nobody", "b", "held"});
  CHECK(ended.code == 1);
  CHECK(ended.out == "nobody: unknown\nb: had ended before\nheld: asked; its rank stops it at the next renewal\n");
  CHECK(commands.status().at("cancelled") == 2);
  check_refused(commands({"cancel"}), 2, {"ids is required"});
}

TEST_CASE("retry puts back what failed or was cancelled, and no job that is done") {
  Named commands;
  commands.submit(line_of("done", R"(,"priority":9)") + line_of("f1", R"(,"priority":8)") +
                  line_of("f2", R"(,"priority":7)") + line_of("gone"));
  const auto done = commands.claimed();
  CHECK(commands.fixture.queue.begin_publish(done.ref) == queue::Fence::open);
  CHECK(commands.fixture.queue.complete(done.ref, {"videos/done.mp4", "00", 1}));
  for (int i = 0; i < 2; ++i) commands.fail(commands.claimed(), "why not");
  commands({"cancel", "gone"});
  CHECK(commands.submit(line_of("done", R"(,"priority":9)")).out == "0 added, 1 known already\n");

  const Ended some = commands({"retry", "gone", "gone", "done", "nobody"});
  CHECK(some.code == 1);
  CHECK(some.out ==
        "gone: pending\ngone: is pending: it has not ended; `nightreel cancel` ends it\n"
        "done: is done; `nightreel run --again done` makes it anew\n"
        "nobody: unknown; `nightreel submit` adds its list again\n");
  const Ended all = commands({"retry", "--all"});
  CHECK(all.code == 0);
  CHECK(std::count(all.out.begin(), all.out.end(), '\n') == 2);
  CHECK(contains(all.out, "f1: pending\n"));
  CHECK(contains(all.out, "f2: pending\n"));
  CHECK(commands.status().at("pending") == 3);
  CHECK(commands({"retry", "--all"}).out.empty());
  check_refused(commands({"retry"}), 2, {"--all"});
  check_refused(commands({"retry", "a", "--all"}), 2, {"--all"});
}

TEST_CASE("the queue is the flag's before the environment's, that before the config file's, and that before default") {
  Named commands;
  const std::string config = commands.folder.write("c.toml", "queue = \"of-the-file\"\n");
  const auto named = [&](const Words& words, const std::string& of_the_environment = "") {
    test::How how;
    how.environment["REDIS_URL"] = commands.url();
    if (!of_the_environment.empty()) how.environment["NIGHTREEL_QUEUE"] = of_the_environment;
    Words all{"status", "--json"};
    all.insert(all.end(), words.begin(), words.end());
    const Ended ended = call(all, how);
    INFO(ended.said());
    REQUIRE(ended.code == 0);
    return json::parse(ended.out).at("queue").get<std::string>();
  };
  CHECK(named({"--queue", "of-the-flag", "--config", config}, "of-the-environment") == "of-the-flag");
  CHECK(named({"--config", config}, "of-the-environment") == "of-the-environment");
  CHECK(named({"--config", config}) == "of-the-file");
  CHECK(named({}) == "default");
  CHECK(named({"--queue=x"}) == "x");

  // The same for --redis, whose last place is REDIS_URL.
  const std::string nowhere = "unix://" + (commands.folder / "nowhere");
  check_refused(call({"status"}, {{{"REDIS_URL", "http://x"}}, {}, {}}), 2, {"Redis address http://x"});
  CHECK(call({"status", "--redis", commands.url()}, {{{"REDIS_URL", nowhere}}, {}, {}}).code == 0);
  CHECK(call({"status"}, {{{"NIGHTREEL_REDIS", commands.url()}, {"REDIS_URL", nowhere}}, {}, {}}).code == 0);

  const std::string slip = commands.folder.write("slip.toml", "queu = \"x\"\n");
  check_refused(commands({"status", "--config", slip}), 2, {slip, "queu: no such option", "did you mean queue?"});
  check_refused(call({"status", "--queue", "a{b"}, {{{"REDIS_URL", commands.url()}}, {}, {}}), 2, {"queue name 'a{b'"});
}

TEST_CASE("without a Redis or an OUT there is no queue") {
  const TempFolder folder;
  const std::string jobs = folder.write("jobs.jsonl", line_of("a"));
  for (const Words& words : std::vector<Words>{{"status"}, {"cancel", "a"}, {"retry", "a"}, {"submit", jobs}}) {
    check_refused(call(words), 2, {"which queue?", "--redis", "--out"});
  }
}

TEST_CASE("OUT's own queue is made by submit, rests between the calls, and is the same by any name of OUT") {
  Commands commands;
  const std::string out = commands.folder / "out";
  commands.on = {"--out", out};
  check_refused(commands({"status"}), 3, {out, "no run has made a queue here yet"});
  CHECK_FALSE(std::filesystem::exists(out));
  CHECK(commands.submit(line_of("a") + line_of("b")).out == "2 added, 0 known already\n");
  CHECK(mode_of(out + "/queue") == 0700);
  CHECK_FALSE(std::filesystem::exists(out + "/queue/address"));  // the private server rests
  const Ended relative = call({"status", "--json", "--all", "--out", "out"}, {{}, {}, commands.folder.path()});
  INFO(relative.said());
  REQUIRE(relative.code == 0);
  const json seen = json::parse(relative.out);
  CHECK(seen.at("pending") == 2);
  CHECK(seen.at("jobs").size() == 2);
  CHECK(commands({"cancel", "b"}).out == "b: cancelled\n");
  CHECK(commands({"retry", "b"}).out == "b: pending\n");
  CHECK(commands.status({"--all"}) == seen);
  check_refused(commands.submit(R"({"promt":"x"})"), 2, {"promt"});
  CHECK_FALSE(std::filesystem::exists(out + "/queue/address"));
}
