#include "nightreel/base/pipe.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <thread>

#include "nightreel/base/file.h"
#include "support/error.h"

namespace nightreel::base {
namespace {

using std::chrono::milliseconds;
using test::contains;
using test::thrown_by;

struct Pipe {
  Fd in;
  Fd out;
  Pipe() {
    std::array<int, 2> ends{};
    REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
    in = Fd(ends[0]);
    out = Fd(ends[1]);
  }
  void put(const std::string& bytes) const {
    REQUIRE(::write(out.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
  }
};

TEST_CASE("a stream is cut into lines, however it arrives") {
  const Pipe pipe;
  LineReader reader(pipe.in.get(), 1000);
  std::string line;
  pipe.put("one\ntwo\n\nthr");
  for (const char* expected : {"one", "two", ""}) {
    REQUIRE(reader.next(line, milliseconds(60000)) == LineReader::Status::line);
    CHECK(line == expected);
  }
  CHECK(reader.next(line, milliseconds(10)) == LineReader::Status::timeout);
  pipe.put("ee\n");
  REQUIRE(reader.next(line, milliseconds(60000)) == LineReader::Status::line);
  CHECK(line == "three");
}

TEST_CASE("the end is told, and an unfinished last line is dropped") {
  Pipe pipe;
  pipe.put("one\nhalf");
  pipe.out.reset();
  LineReader reader(pipe.in.get(), 1000);
  std::string line;
  CHECK(reader.next(line, milliseconds(60000)) == LineReader::Status::line);
  CHECK(reader.next(line, milliseconds(60000)) == LineReader::Status::closed);
}

TEST_CASE("a line that is too long is an error, with and without its end") {
  for (const std::string& text : {std::string(11, 'x') + "\n", std::string(11, 'x')}) {
    const Pipe pipe;
    pipe.put(text);
    LineReader reader(pipe.in.get(), 10);
    std::string line;
    const auto error = thrown_by([&] { reader.next(line, milliseconds(60000)); });
    CHECK(error.kind == ErrorKind::renderer);
    CHECK(contains(error.message, "longer than 10 bytes"));
  }
  const Pipe pipe;
  pipe.put(std::string(10, 'x') + "\n");
  LineReader reader(pipe.in.get(), 10);
  std::string line;
  CHECK(reader.next(line, milliseconds(60000)) == LineReader::Status::line);
}

TEST_CASE("a long line passes through a full pipe while the other end reads") {
  const Pipe pipe;
  const std::string text(1000000, 'y');
  std::thread writer([&] { write_line(pipe.out.get(), text); });
  LineReader reader(pipe.in.get(), 2000000);
  std::string line;
  const auto status = reader.next(line, milliseconds(60000));
  writer.join();
  REQUIRE(status == LineReader::Status::line);
  CHECK(line == text);
}

TEST_CASE("a reader that takes nothing and one that is gone are errors, not hangs or signals") {
  Pipe pipe;
  const auto stuck = thrown_by([&] { write_line(pipe.out.get(), std::string(1000000, 'y'), milliseconds(50)); });
  CHECK(stuck.kind == ErrorKind::renderer);
  CHECK(contains(stuck.message, "takes nothing"));
  pipe.in.reset();
  const auto gone = thrown_by([&] { write_line(pipe.out.get(), "x"); });
  CHECK(gone.kind == ErrorKind::renderer);
  CHECK(contains(gone.message, "Broken pipe"));
}

}  // namespace
}  // namespace nightreel::base
