#include "nightreel/base/log.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <thread>

#include "nightreel/base/cancel.h"
#include "nightreel/base/file.h"
#include "nightreel/base/json.h"
#include "support/error.h"
#include "support/temp_folder.h"

namespace nightreel::base {
namespace {

using test::contains;
using test::TempFolder;

/// What `call` writes to descriptor 2.
template <typename Call>
std::string stderr_of(Call call) {
  TempFolder folder;
  const Fd file(::open((folder / "err").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  const Fd saved(::dup(2));
  REQUIRE(::dup2(file.get(), 2) == 2);
  call();
  REQUIRE(::dup2(saved.get(), 2) == 2);
  return read_file(folder / "err", 1U << 20U);
}

TEST_CASE("text goes to stderr with its level and name, and cannot drive a terminal") {
  const std::string text = stderr_of([] {
    const Logger log = Logger::to_stderr(LogFormat::text, "rank 3");
    log.info("start", "hello \x1b[31m\nred");
    log.debug("detail", "not shown");
    log.error("end", "it broke");
  });
  CHECK(contains(text, " info rank 3: start: hello \\x1b[31m\\x0ared\n"));
  CHECK(contains(text, " error rank 3: end: it broke\n"));
  CHECK_FALSE(contains(text, "not shown"));
}

TEST_CASE("a log file on a full disk loses its lines and disturbs nobody") {
  const std::string shown = stderr_of([] {
    const Logger log = Logger::to_stderr_and_file(LogFormat::text, "", "/dev/full");
    log.info("start", "still shown");
    log.error("end", "this too");
  });
  CHECK(contains(shown, "still shown"));
  CHECK(contains(shown, "this too"));
}

TEST_CASE("JSON lines carry event, level, time and the logger's fields") {
  TempFolder folder;
  const std::string shown = stderr_of([&] {
    const Logger log = Logger::to_stderr_and_file(LogFormat::text, "", folder / "rank-0.jsonl");
    log.with({{"rank", 0}}).with({{"job", "a\"b"}}).warn("slow", "took \xff 9 s");
    log.debug("detail", "into the file alone");
  });
  CHECK(contains(shown, "warning slow: took"));
  const std::string file = read_file(folder / "rank-0.jsonl", 10000);
  const auto first = parse_json(file.substr(0, file.find('\n')));
  CHECK(first.at("event") == "slow");
  CHECK(first.at("level") == "warning");
  CHECK(first.at("rank") == 0);
  CHECK(first.at("job") == "a\"b");
  CHECK(first.at("ts").get<std::string>().size() == 24);
  CHECK(contains(file, "into the file alone"));
}

TEST_CASE("a log file that cannot be opened is an error, and a logger without sinks is silent") {
  TempFolder folder;
  folder.write("file", "x");
  CHECK(test::thrown_by([&] { Logger::to_stderr_and_file(LogFormat::json, "", folder / "file/log.jsonl"); }).kind ==
        ErrorKind::storage);
  CHECK(stderr_of([] { Logger().error("a", "b"); }).empty());
}

TEST_CASE("a cancelled token is seen by every copy, in every thread") {
  const CancelToken token;
  const CancelToken copy = token;  // NOLINT(performance-unnecessary-copy-initialization): the copy is the point
  CHECK_NOTHROW(copy.throw_if_cancelled());
  std::thread([&] { token.cancel(); }).join();
  CHECK(copy.cancelled());
  CHECK(test::thrown_by([&] { copy.throw_if_cancelled(); }).kind == ErrorKind::interrupted);
}

}  // namespace
}  // namespace nightreel::base
