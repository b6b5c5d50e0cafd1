// What a command writes: standard output that takes nothing, and files that must not come to be.
#include "app/common/outputs.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/refusal.h"
#include "queue/test_server.h"
#include "support/temp_folder.h"

using namespace nightreel;
using test::call;
using test::contains;
using test::line_of;
using Words = std::vector<std::string>;

namespace {

/// The same with a full disk behind standard output.
test::Ended on_full(Words words, const test::How& how = {}) {
  words.insert(words.begin(), "nightreel");
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  test::Ended ended;
  const test::Environment environment(how.environment);
  const test::Caught log(2);
  std::fflush(stdout);
  const base::Fd saved(::fcntl(1, F_DUPFD_CLOEXEC, 3));
  const base::Fd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  ::dup2(full.get(), 1);
  ended.code = app::run_nightreel(static_cast<int>(words.size()), argv.data());
  ::dup2(saved.get(), 1);
  ended.log = log.text();
  return ended;
}

}  // namespace

TEST_CASE("output that a full disk takes not is exit code 3 of every command") {
  const test::TestServer server;
  const test::TempFolder folder;
  const test::How how{{{"REDIS_URL", "unix://" + server.address().unix_path}}, {}, {}};
  const std::string jobs = folder.write("jobs.jsonl", line_of("a") + line_of("b"));
  for (const Words& words : std::vector<Words>{{"--help"},
                                               {"--version"},
                                               {"run", "--help"},
                                               {"submit", jobs},
                                               {"status"},
                                               {"status", "--json"},
                                               {"status", "--watch"},
                                               {"cancel", "a"},
                                               {"retry", "a"}}) {
    const auto ended = on_full(words, how);
    INFO(words.front() << "\n" << ended.said());
    CHECK(ended.code == 3);
    CHECK(ended.log.rfind("nightreel: standard output cannot be written", 0) == 0);
    CHECK(ended.lines() == 1);
  }
  CHECK(on_full({"cancel", "nobody"}, how).code == 3);  // whatever it would have said
  CHECK(on_full({"status", "--jsn"}, how).code == 2);
  CHECK(call({"status"}, how).code == 0);  // of the next one nothing is lost
}

TEST_CASE("a file that a command is to write is judged before any work") {
  const test::TempFolder folder;
  base::make_folders(folder / "sub.mp4");
  REQUIRE(::mkfifo((folder / "pipe.mp4").c_str(), 0600) == 0);
  folder.write("file", "x");
  ::symlink("/dev/null", (folder / "null.mp4").c_str());
  const std::vector<std::pair<std::string, std::string>> refused{
      {"", "name a file that ends with .mp4"},
      {folder.path(), "a folder; name a file"},
      {folder / "sub.mp4", "a folder; name a file"},
      {folder / "a/", "a folder; name a file"},
      {folder / "a.mkv", "must end with .mp4"},
      {folder / "mp4", "must end with .mp4"},
      {folder / ".mp4/a.mp4", "No such file or directory; make it first"},
      {folder / "file/a.mp4", "is no folder"},
      {folder / "pipe.mp4", "no regular file"},
      {folder / "null.mp4", "no regular file"},
      {"/dev/null", "no regular file"}};
  for (const auto& [path, part] : refused) {
    const auto thrown = test::thrown_by([&, name = path] { app::check_output_file("--output", name, ".mp4"); });
    CHECK_MESSAGE(thrown.kind == base::ErrorKind::usage, path);
    CHECK_MESSAGE(contains(thrown.message, part), thrown.message);
    CHECK(contains(thrown.message, "--output"));
  }
  folder.write("old.MP4", "x");
  for (const char* good : {"new.mp4", "old.MP4"}) CHECK_NOTHROW(app::check_output_file("-o", folder / good, ".mp4"));
  CHECK_NOTHROW(app::check_output_file("--archive-file", folder / "any", ""));
}
