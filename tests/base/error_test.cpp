#include "nightreel/base/error.h"

#include <doctest/doctest.h>

#include <cerrno>

#include "support/error.h"

namespace nightreel::base {
namespace {

TEST_CASE("every kind has a name that leads back to it, an exit code and a verdict") {
  struct Case {
    ErrorKind kind;
    const char* name;
    bool retry;
    int exit_code;
  };
  for (const auto& c :
       {Case{ErrorKind::usage, "usage", false, 2}, Case{ErrorKind::job, "job", false, 1},
        Case{ErrorKind::model, "model", false, 3}, Case{ErrorKind::environment, "environment", false, 3},
        Case{ErrorKind::queue, "queue", true, 3}, Case{ErrorKind::storage, "storage", true, 3},
        Case{ErrorKind::renderer, "renderer", true, 1}, Case{ErrorKind::device, "device", true, 3},
        Case{ErrorKind::device_memory, "device_memory", true, 3}, Case{ErrorKind::numeric, "numeric", true, 1},
        Case{ErrorKind::comm, "comm", true, 3}, Case{ErrorKind::interrupted, "interrupted", true, 75},
        Case{ErrorKind::internal, "internal", true, 4}}) {
    CHECK(traits(c.kind).name == c.name);
    CHECK(traits(c.kind).retry == c.retry);
    CHECK(traits(c.kind).exit_code == c.exit_code);
    CHECK(error_kind(c.name) == c.kind);
  }
  CHECK(error_kind("no such kind") == ErrorKind::internal);
}

TEST_CASE("printable text cannot drive a terminal and keeps its letters") {
  CHECK(printable("plain 日本 é") == "plain 日本 é");
  CHECK(printable("a\x1b[31m\n\t\x7f") == "a\\x1b[31m\\x0a\\x09\\x7f");
  CHECK(printable(std::string_view("a\0b", 3)) == "a\\x00b");
  CHECK(printable("\xC2\x9B[31m") == "\\xc2\\x9b[31m");  // the one-character CSI
  CHECK(printable("\xC2\xA0x") == "\xC2\xA0x");
  CHECK(printable("\xC2") == "\xC2");
}

TEST_CASE("printable text is cut between characters") {
  CHECK(printable("abcdef", 6) == "abcdef");
  CHECK(printable("abcdef", 3) == "abc…");
  CHECK(printable("日本語", 4) == "日…");
  CHECK(printable("日本語", 2) == "…");
}

TEST_CASE("the nearest name is found, and none where none is near") {
  const std::vector<std::string> known{"num_frames", "height", "width", "guidance_scale"};
  CHECK(nearest("num_frame", known) == "num_frames");
  CHECK(nearest("heigth", known) == "height");
  CHECK(nearest("guidence_scal", known) == "guidance_scale");
  CHECK(nearest("colour", known).empty());
  CHECK(nearest("x", {}).empty());
  CHECK(nearest(std::string(500, 'x'), {std::string(499, 'x')}).empty());  // nobody mistypes that
}

TEST_CASE("no error carries what drives a terminal, whatever it was made of") {
  CHECK(std::string(Error(ErrorKind::model, "no\x1b[31m\n\x1b]0;owned\x07.safetensors: cannot open").what()) ==
        "no\\x1b[31m\\x0a\\x1b]0;owned\\x07.safetensors: cannot open");
  const auto error = test::thrown_by([] {
    errno = ENOENT;
    throw_errno("cannot open", "\x1b[31m\nx");
  });
  CHECK(error.message == "cannot open \\x1b[31m\\x0ax: No such file or directory");
  CHECK(std::string(Error(ErrorKind::job, error.message).what()) == error.message);
}

TEST_CASE("an error of several lines keeps them, and nothing else that drives a terminal") {
  const Error error = Error::of_lines(ErrorKind::usage, "a:1: x\x1b[31m\na:2: y\n");
  CHECK(std::string(error.what()) == "a:1: x\\x1b[31m\na:2: y\n");
  CHECK(error.kind() == ErrorKind::usage);
  CHECK(std::string(Error::of_lines(ErrorKind::usage, "").what()).empty());
}

TEST_CASE("a failed system call names what, where and why") {
  const auto error = test::thrown_by([] {
    errno = ENOENT;
    throw_errno("cannot open", "/no/such");
  });
  CHECK(error.kind == ErrorKind::storage);
  CHECK(error.message == "cannot open /no/such: No such file or directory");
}

}  // namespace
}  // namespace nightreel::base
