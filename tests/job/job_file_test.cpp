#include "nightreel/job/job_file.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>

#include "nightreel/base/file.h"
#include "support/error.h"
#include "support/temp_folder.h"

namespace nightreel::job {
namespace {

using base::ErrorKind;
using test::contains;
using test::TempFolder;
using test::thrown_by;

std::string bad_folder() {
  const char* source = std::getenv("NIGHTREEL_SOURCE_DIR");
  return std::string(source == nullptr ? "." : source) + "/tests/job/bad";
}

/// bad/expected.tsv: file name without ending, tab, a part of the message.
std::map<std::string, std::string> expected_messages() {
  std::map<std::string, std::string> expected;
  std::ifstream table(bad_folder() + "/expected.tsv");
  for (std::string line; std::getline(table, line);) {
    const auto tab = line.find('\t');
    expected[line.substr(0, tab)] = line.substr(tab + 1);
  }
  return expected;
}

TEST_CASE("every malformed file is refused with its file, line, field and reason") {
  const auto expected = expected_messages();
  CHECK(expected.size() >= 25);
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(bad_folder())) {
    if (entry.path().extension() != ".jsonl") continue;
    ++files;
    const std::string path = entry.path().string();
    INFO(path);
    const auto found = expected.find(entry.path().stem().string());
    REQUIRE(found != expected.end());
    const auto error = thrown_by([&] { read_job_files({path}); });
    CHECK(error.kind == ErrorKind::usage);
    CHECK_MESSAGE(contains(error.message, found->second), error.message);
    CHECK(error.message.rfind(path + ":", 0) == 0);
    const bool one_bad_line = entry.path().stem() != "pretty_printed";
    CHECK(contains(error.message, "\n") != one_bad_line);
  }
  CHECK(files == expected.size());
}

TEST_CASE("the jobs come in order, from all files, each with its place") {
  TempFolder folder;
  const auto a = folder.write("a.jsonl", "{\"prompt\": \"one\"}\n{\"prompt\": \"two\"}\n");
  const auto b = folder.write("b.jsonl", "{\"prompt\": \"three\"}");  // no newline at the end
  const auto jobs = read_job_files({a, b});
  REQUIRE(jobs.size() == 3);
  CHECK(jobs[0].prompt == "one");
  CHECK(jobs[1].origin == a + ":2");
  CHECK(jobs[2].prompt == "three");
  CHECK(jobs[2].folder == folder.path());
}

TEST_CASE("blank lines, carriage returns and byte-order marks at the start are let through") {
  TempFolder folder;
  const auto path =
      folder.write("a.jsonl", "\xEF\xBB\xBF{\"prompt\": \"one\"}\r\n\r\n \t\n{\"prompt\": \"two\"}\r\n\n");
  const auto jobs = read_job_files({path});
  REQUIRE(jobs.size() == 2);
  CHECK(jobs[0].hash == parse_job(R"({"prompt": "one"})", {}).hash);
  CHECK(jobs[1].origin == path + ":4");
  const auto joined =
      folder.write("b.jsonl", "{\"prompt\": \"one\"}\n\xEF\xBB\xBF{\"prompt\": \"two\"}\n\xEF\xBB\xBF\n");
  CHECK(read_job_files({joined}).size() == 2);
}

TEST_CASE("a file without a job is a mistake, and named, also beside others") {
  TempFolder folder;
  const auto full = folder.write("full.jsonl", "{\"prompt\": \"one\"}\n");
  for (const char* nothing : {"", "\n\r\n  \n", "\xEF\xBB\xBF"}) {
    const auto empty = folder.write("empty.jsonl", nothing);
    const auto thrown = test::thrown_by([&] { read_job_files({full, empty}); });
    CHECK(thrown.kind == base::ErrorKind::usage);
    CHECK(thrown.message == empty + ": holds no job; give a file with a JSON object a line");
  }
  CHECK(read_job_files({}).empty());
}

TEST_CASE("a file in UTF-16 is named as such, once, with what converts it") {
  TempFolder folder;
  const auto wide = [](const std::string& text, bool big_endian, bool mark) {
    std::string bytes = !mark ? "" : big_endian ? "\xFE\xFF" : "\xFF\xFE";
    for (const char c : text) bytes += big_endian ? std::string{'\0', c} : std::string{c, '\0'};
    return bytes;
  };
  const std::string lines = "{\"prompt\": \"x\"}\r\n{\"prompt\": \"y\"}\r\n";
  for (const bool big_endian : {false, true}) {
    for (const bool mark : {false, true}) {
      const auto path = folder.write("a.jsonl", wide(lines, big_endian, mark));
      const std::string message = thrown_by([&] { read_job_files({path}); }).message;
      CHECK(message.rfind(path + ":1: the text is UTF-16", 0) == 0);
      CHECK(contains(message, "iconv -f UTF-16"));
      CHECK_FALSE(contains(message, "\n"));
    }
  }
}

TEST_CASE("a file that is a link to nothing, and a URL, are told as what they are") {
  TempFolder folder;
  std::filesystem::create_symlink("../../blobs/0123abcd", folder / "a.png");
  const auto told = [&](const std::string& field) {
    const auto path = folder.write("a.jsonl", "{\"prompt\": \"x\", " + field + "}\n");
    return thrown_by([&] { read_job_files({path}); }).message;
  };
  CHECK(contains(told(R"("image": "a.png")"),
                 "a.png: is a link to ../../blobs/0123abcd, which is not there: the download"));
  CHECK(contains(told(R"("loras": [{"path": "a.png"}])"), "is a link to ../../blobs/0123abcd"));
  CHECK(contains(told(R"("image": "https://a.b/c.png")"), "nothing is fetched"));
}

TEST_CASE("a folder that peft wrote stands for the LoRA in it") {
  TempFolder folder;
  const auto weights = folder.write("style/adapter_model.safetensors", "x");
  folder.write("empty/README.md", "x");
  const auto listed = [&](const std::string& lora, const std::string& root = {}) {
    const auto path = folder.write("a.jsonl", "{\"prompt\": \"x\", \"loras\": [{\"path\": \"" + lora + "\"}]}\n");
    return read_job_files({path}, root);
  };
  CHECK(listed("style").at(0).loras.at(0).path == weights);
  CHECK(listed("style/").at(0).loras.at(0).path == weights);
  CHECK(contains(thrown_by([&] { listed("empty"); }).message, "empty/adapter_model.safetensors: No such file"));
  // Nothing outside the input root is told apart, folders and files.
  const std::string outside = thrown_by([&] { listed("style", folder / "empty"); }).message;
  CHECK(contains(outside, "style lies outside --input-root"));
}

TEST_CASE("the same id again is one job with equal content, and an error with other content") {
  TempFolder folder;
  const auto a = folder.write(
      "a.jsonl", "{\"prompt\": \"x\", \"id\": \"i\"}\n{\"id\": \"i\",   \"prompt\": \"x\"}\n{\"prompt\": \"y\"}\n");
  const auto b = folder.write("b.jsonl", "{\"prompt\": \"y\"}\n");
  CHECK(read_job_files({a, b}).size() == 2);
  const auto c = folder.write("c.jsonl", "{\"prompt\": \"z\", \"id\": \"i\"}\n");
  CHECK(thrown_by([&] {
          read_job_files({a, c});
        }).message == c + ":1: id: 'i' stands at " + a + ":1 with other content");
  // Equal words that name other files are other content.
  for (const char* sub : {"one", "two"}) {
    folder.write(std::string(sub) + "/a.png", "x");
    folder.write(std::string(sub) + "/a.jsonl", "{\"prompt\": \"x\", \"image\": \"a.png\"}\n");
  }
  CHECK(contains(thrown_by([&] {
                   read_job_files({folder / "one/a.jsonl", folder / "two/a.jsonl"});
                 }).message,
                 "with other content"));
}

TEST_CASE("all bad lines of all files are told at once, at most twenty of them") {
  TempFolder folder;
  std::string many;
  for (int i = 0; i < 30; ++i) many += "{\"prompt\": 1}\n";
  const auto a = folder.write("a.jsonl", "{\"prompt\": \"good\"}\n{\"prompt\": 1}\n");
  const auto b = folder.write("b.jsonl", many);
  const std::string message = thrown_by([&] { read_job_files({a, folder / "missing.jsonl", b}); }).message;
  CHECK(contains(message, a + ":2: prompt: "));
  CHECK(contains(message, (folder / "missing.jsonl") + ": cannot be read: No such file"));
  CHECK(contains(message, b + ":18: prompt: "));
  CHECK_FALSE(contains(message, b + ":19:"));
  CHECK(contains(message, "\nand 12 more bad lines"));
  CHECK(std::count(message.begin(), message.end(), '\n') == 20);
}

TEST_CASE("lines and files are bounded, and what follows a long line is read all the same") {
  TempFolder folder;
  const std::string good = "{\"prompt\": \"x\"}";
  const auto path = folder.write("a.jsonl", good + "\n" + std::string(200000, ' ') + good + "\n{\"prompt\": 1}\n");
  JobFileLimits limits;
  limits.line = 100000;
  const std::string message = thrown_by([&] { read_job_files({path}, "", limits); }).message;
  CHECK(contains(message, path + ":2: the line is longer than 100000 bytes"));
  CHECK(contains(message, path + ":3: prompt: "));
  limits.line = good.size();
  CHECK(read_job_files({folder.write("b.jsonl", good + "\n")}, "", limits).size() == 1);
  limits.line = good.size() - 1;
  CHECK_THROWS_AS(read_job_files({folder / "b.jsonl"}, "", limits), base::Error);
  limits = {};
  limits.file = 1000;
  CHECK(contains(thrown_by([&] { read_job_files({path}, "", limits); }).message, "is larger than 1000 bytes"));
}

TEST_CASE("a folder, a missing file and a missing folder are named") {
  TempFolder folder;
  CHECK(contains(thrown_by([&] { read_job_files({folder.path()}); }).message, "Is a directory"));
  for (const auto& path : {folder / "no.jsonl", folder / "no/no.jsonl"}) {
    const auto error = thrown_by([&] { read_job_files({path}); });
    CHECK(error.kind == ErrorKind::usage);
    CHECK(error.message == path + ": cannot be read: No such file or directory");
  }
}

// Standard input is the process's own: the test lends it a file for the call.
class LentStdin {
 public:
  explicit LentStdin(const std::string& path) : saved_(::dup(0)) {
    const base::Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    REQUIRE(::dup2(file.get(), 0) == 0);
  }
  LentStdin(const LentStdin&) = delete;
  LentStdin& operator=(const LentStdin&) = delete;
  ~LentStdin() { ::dup2(saved_.get(), 0); }

 private:
  base::Fd saved_;
};

TEST_CASE("a hyphen is standard input, whose paths count from the current folder") {
  TempFolder folder;
  const auto path = folder.write("a.jsonl", "{\"prompt\": \"x\"}\n{\"prompt\": 1}\n");
  const auto good = folder.write("b.jsonl", "{\"prompt\": \"x\"}\n");
  {
    const LentStdin lent(path);
    CHECK(contains(thrown_by([&] { read_job_files({"-"}); }).message, "stdin:2: prompt: "));
  }
  const LentStdin lent(good);
  CHECK(read_job_files({"-"}).at(0).folder == std::filesystem::current_path().string());
}

TEST_CASE("with an input root the files that jobs name must lie in it") {
  TempFolder folder;
  folder.write("a.png", "x");
  folder.write("root/b.png", "x");
  const auto path = folder.write(
      "a.jsonl", "{\"prompt\": \"x\", \"image\": \"root/b.png\"}\n{\"prompt\": \"y\", \"image\": \"a.png\"}\n");
  const std::string message = thrown_by([&] { read_job_files({path}, folder / "root"); }).message;
  CHECK(contains(message, path + ":2: image: "));
  CHECK(contains(message, "lies outside --input-root"));
  CHECK(read_job_files({path}, folder.path()).size() == 2);
}

}  // namespace
}  // namespace nightreel::job
