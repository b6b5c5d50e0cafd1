// What `run` refuses before MPI, a renderer or Redis starts: as a user types it, with what he then reads.
#include <doctest/doctest.h>

#include <fstream>
#include <map>

#include "app/refusal.h"
#include "queue/test_server.h"

using namespace nightreel;
using test::call;
using test::check_refused;
using test::Ended;
using test::line_of;
using test::repository;
using test::TempFolder;
using Words = std::vector<std::string>;

namespace {

// `run` on models/shapes with an OUT that must not come to be.
struct Refused {
  TempFolder folder;
  std::string out = folder / "out";

  Ended run(const Words& words, const test::How& how = {}) const {
    Words all{"run", "--model", repository("models/shapes"), "--out", out};
    all.insert(all.end(), words.begin(), words.end());
    const Ended ended = call(all, how);
    CHECK_FALSE(std::filesystem::exists(out));
    return ended;
  }
};

std::map<std::string, std::string> bad_files() {
  std::map<std::string, std::string> expected;
  std::ifstream table(repository("tests/job/bad/expected.tsv"));
  for (std::string line; std::getline(table, line);) {
    expected[repository("tests/job/bad/") + line.substr(0, line.find('\t')) + ".jsonl"] =
        line.substr(line.find('\t') + 1);
  }
  return expected;
}

}  // namespace

TEST_CASE("run: a value that no run can use is told with its flag") {
  const std::vector<std::pair<std::string, std::string>> table{{"--device", "gpu"},
                                                               {"--dtype", "int4"},
                                                               {"--recipe", "best"},
                                                               {"--deadline", "soon"},
                                                               {"--min-free", "much"},
                                                               {"--threads", "0"},
                                                               {"--threads", "many"},
                                                               {"--crf", "52"},
                                                               {"--codec", "av1"},
                                                               {"--lease", "1"},
                                                               {"--archive", "all"},
                                                               {"--max-attempts", "0"},
                                                               {"--checkpoint-every", "-1"},
                                                               {"--input-root", "/nowhere"},
                                                               {"--expect-ranks", "0"},
                                                               {"--log-format", "xml"},
                                                               {"--progress", "much"},
                                                               {"--load", "both"},
                                                               {"--ranks-per-video", "0"},
                                                               {"--min-ranks", "0"},
                                                               {"--stage-limits", "nap=1h"},
                                                               {"--stage-limits", "step=soon"},
                                                               {"--renderer-env", "REDIS_PASSWORD"},
                                                               {"--renderer-env", "A,HF_TOKEN"},
                                                               {"--renderer-env", "A=B"}};
  const Refused a;
  for (const auto& [flag, value] : table) check_refused(a.run({flag, value}), 2, {flag});
  check_refused(a.run({"--shard-weights"}), 2, {"--shard-weights", "--ranks-per-video 2"});
  check_refused(a.run({"--queue", "a b"}), 2, {"queue name 'a b'"});
  check_refused(a.run({"--redis", "http://host"}), 2, {"Redis address http://host", "redis://"});
  const Ended secret = a.run({"--redis", "redis://user:secret@host:no"});
  check_refused(secret, 2, {"redis://***: the port"});
  CHECK_FALSE(test::contains(secret.log, "secret"));
  check_refused(a.run({"--max-atempts", "4"}), 2, {"--max-atempts: no such option; did you mean max-attempts?"});
}

TEST_CASE("run: TLS is refused by a build that has none, as the environment's fault") {
  const Refused a;
  try {
    queue::parse_redis_addresses("rediss://host");
  } catch (const base::Error&) {
    check_refused(a.run({"--redis", "rediss://host"}), 3, {"TLS"});
  }
}

TEST_CASE("run: what it cannot do without is asked for") {
  check_refused(call({"run", "--out", "/tmp/x"}), 2, {"--model is required"});
  check_refused(call({"run", "--model", repository("models/shapes")}), 2, {"--out is required"});
}

TEST_CASE("run: every malformed file is refused whole, with its line, and nothing comes to be") {
  const test::TestServer server;
  const std::string url = "unix://" + server.address().unix_path;
  const Refused a;
  const auto expected = bad_files();
  CHECK(expected.size() >= 60);
  for (const auto& [path, part] : expected) {
    INFO(path);
    const Ended ended = a.run({path, "--redis", url});
    INFO(ended.said());
    CHECK(ended.code == 2);
    CHECK(ended.out.empty());
    CHECK(ended.log.rfind("nightreel: " + path + ":", 0) == 0);
    CHECK(test::contains(ended.log, part));
    const bool many = test::contains(path, "pretty_printed");  // a job over many lines: a message for each of them
    CHECK((ended.lines() > 1) == many);
  }
  const std::string good = a.folder.write("good.jsonl", line_of("good"));
  const std::string bad = expected.begin()->first;
  check_refused(a.run({good, bad, "--redis", url}), 2, {bad + ":"});
  const std::string other = a.folder.write("other.jsonl", line_of("good", R"(,"seed":2)"));
  check_refused(a.run({good, other, "--redis", url}), 2, {other + ":1: id: 'good' stands at " + good + ":1"});
  check_refused(a.run({a.folder / "missing.jsonl"}), 2, {"missing.jsonl"});
  auto redis = server.redis();
  CHECK(redis.command({"DBSIZE"}).integer() == 0);
}

TEST_CASE("run: what only the model can judge is refused too, before anything starts") {
  const Refused a;
  const std::vector<std::pair<std::string, Words>> table{
      {R"(,"height":50)", {"height: 50", "48"}},
      {R"(,"num_frames":16)", {"num_frames: 16", "17"}},
      {R"(,"height":2048)", {"height: 2048", "rope_max_seq_len of 64", "at most 1024"}},
      {R"(,"image":")" + repository("README.md") + "\"", {"image: "}}};
  for (const auto& [field, parts] : table) {
    const std::string path = a.folder.write("jobs.jsonl", line_of("a") + line_of("b", field));
    const Ended ended = a.run({path});
    check_refused(ended, 2, parts);
    CHECK(test::contains(ended.log, path + ":2: "));
  }
}

TEST_CASE("run: a recipe that the model has not is refused, with the one that it has") {
  const Refused a;
  const std::string path = a.folder.write("jobs.jsonl", line_of("a"));
  check_refused(a.run({path, "--recipe", "official"}), 3, {"models/shapes", "--recipe checkpoint"});
}

TEST_CASE("run and submit: what is no picture and no LoRA file is told with its line, before anything starts") {
  const Refused a;
  const std::string html = a.folder.write("page.png", "<!DOCTYPE html>");
  const std::string cut = a.folder.write("cut.safetensors", std::string("\x20\0\0\0\0\0\0\0{", 9));
  const std::string pointer = a.folder.write("lfs.safetensors", "version https://git-lfs.github.com/spec/v1\n");
  const std::vector<std::pair<std::string, Words>> table{
      {R"(,"image":")" + html + "\"", {"image: " + html, "is no PNG, JPEG or WebP picture"}},
      {R"(,"loras":[{"path":")" + cut + "\"}]", {"loras: [0]: " + cut, "cut off"}},
      {R"(,"loras":[{"path":")" + pointer + "\"}]", {"loras: [0]: " + pointer, "git lfs pull"}}};
  for (const auto& [field, parts] : table) {
    const std::string path = a.folder.write("jobs.jsonl", line_of("a") + line_of("b", field));
    const bool is_picture = test::contains(field, "image");
    const std::string model = repository(is_picture ? "models/shapes-i2v" : "models/shapes");
    if (!is_picture) check_refused(a.run({path}), 2, parts);
    const Ended ended = call({"submit", path, "--out", a.out, "--model", model});
    check_refused(ended, 2, parts);
    CHECK(test::contains(ended.log, path + ":2: "));
    CHECK_FALSE(std::filesystem::exists(a.out));
  }
}

TEST_CASE("run and submit: a list without a job is no list") {
  const Refused a;
  const std::string empty = a.folder.write("empty.jsonl", "\n");
  check_refused(a.run({empty}), 2, {empty + ": holds no job"});
  check_refused(call({"submit", empty, "--out", a.out}), 2, {empty + ": holds no job"});
  check_refused(call({"submit", "-", "--out", a.out}, {{}, "\n", {}}), 2, {"stdin: holds no job"});
  CHECK_FALSE(std::filesystem::exists(a.out));
}

TEST_CASE("run: nothing outside the input root is read") {
  const Refused a;
  const std::string inputs = a.folder / "inputs";
  base::make_folders(inputs);
  a.folder.write("secret.png", "x");
  const std::string given = a.folder.write("jobs.jsonl", line_of("a", R"(,"image":"secret.png")"));
  check_refused(a.run({given, "--input-root", inputs}), 2, {given + ":1: image", inputs});
}

TEST_CASE("run: what is no folder of a model is named, before anything starts") {
  const Refused a;
  base::make_folders(a.folder / "empty");
  for (const std::string& model :
       {a.folder.write("wan.gguf", "GGUF" + std::string(100, '\0')),
        a.folder.write("wan.safetensors", std::string(100, '\0')), a.folder / "empty", a.folder / "nowhere"}) {
    check_refused(call({"run", "--model", model, "--out", a.out}), 3, {model});
    CHECK_FALSE(std::filesystem::exists(a.out));
  }
}

TEST_CASE("run: settings of the environment and of a config file are held to the same") {
  const Refused a;
  const std::string config = a.folder.write("c.toml", "crf = 52\n");
  check_refused(a.run({"--config", config}), 2, {"crf"});
  check_refused(a.run({}, {{{"NIGHTREEL_CRF", "52"}}, {}, {}}), 2, {"crf"});
  // The flag goes before both: then it is another one that is wrong.
  const Ended ended = a.run({"--config", config, "--crf", "20", "--threads", "0"}, {{{"NIGHTREEL_CRF", "52"}}, {}, {}});
  check_refused(ended, 2, {"--threads"});
  CHECK_FALSE(test::contains(ended.log, "crf"));
}
