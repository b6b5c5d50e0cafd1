#include "nightreel/base/file.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <functional>
#include <vector>

#include "nightreel/base/links.h"
#include "nightreel/base/publishing.h"
#include "support/error.h"
#include "support/temp_folder.h"

namespace {

enum class Link { works, refused, happens_but_fails };
Link link_behaviour = Link::works;
Link rename_behaviour = Link::works;
int link_refusal = EPERM;
int rename2_refusal = 0;  // what renameat2 with a flag answers; 0: it works

}  // namespace

// This executable's own link(2): file systems without hard links, and an NFS server whose answer was lost.
extern "C" int link(const char* from, const char* to) noexcept {
  if (link_behaviour == Link::refused) {
    errno = link_refusal;
    return -1;
  }
  const int result = ::linkat(AT_FDCWD, from, AT_FDCWD, to, 0);
  if (link_behaviour == Link::works) return result;
  errno = EIO;
  return -1;
}

extern "C" int rename(const char* from, const char* to) noexcept {
  const int result = rename_behaviour == Link::refused ? -1 : ::renameat(AT_FDCWD, from, AT_FDCWD, to);
  if (rename_behaviour == Link::works) return result;
  errno = EIO;
  return -1;
}

extern "C" int renameat2(int from_folder, const char* from, int to_folder, const char* to, unsigned flags) noexcept {
  if (rename2_refusal == 0) return static_cast<int>(::syscall(SYS_renameat2, from_folder, from, to_folder, to, flags));
  errno = rename2_refusal;
  return -1;
}

namespace nightreel::base {
namespace {

using test::contains;
using test::TempFolder;
using test::thrown_by;

class Behaves {
 public:
  Behaves(Link& call, Link how) : call_(call) { call_ = how; }
  Behaves(const Behaves&) = delete;
  Behaves& operator=(const Behaves&) = delete;
  ~Behaves() { call_ = Link::works; }

 private:
  Link& call_;
};

std::size_t entries(const std::string& folder) {
  return static_cast<std::size_t>(
      std::distance(std::filesystem::directory_iterator(folder), std::filesystem::directory_iterator()));
}

TEST_CASE("a pipe or a device is never replaced") {
  test::TempFolder folder;
  REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
  for (const auto& act :
       std::vector<std::function<void()>>{[&] { replace_file(folder / "pipe", "x"); },
                                          [&] { rename_file(folder.write("a", "x"), folder / "pipe"); }}) {
    const auto error = test::thrown_by(act);
    CHECK(error.kind == ErrorKind::storage);
    CHECK(test::contains(error.message, "pipe: is no regular file, and is not replaced"));
    struct stat info {};
    CHECK(::lstat((folder / "pipe").c_str(), &info) == 0);
    CHECK(S_ISFIFO(info.st_mode));
  }
  CHECK_FALSE(std::filesystem::exists(folder / ".pipe"));
}

TEST_CASE("a file is published once, whole, and never over another") {
  for (const Link how : {Link::works, Link::refused, Link::happens_but_fails}) {
    CAPTURE(static_cast<int>(how));
    const Behaves behaves(link_behaviour, how);
    TempFolder folder;
    CHECK(publish(folder.write("a.part", "one"), folder / "a.mp4"));
    CHECK(read_file(folder / "a.mp4", 100) == "one");
    CHECK(entries(folder.path()) == 1);
  }
  for (const Link how : {Link::works, Link::refused}) {
    CAPTURE(static_cast<int>(how));
    const Behaves behaves(link_behaviour, how);
    TempFolder folder;
    folder.write("a.mp4", "first");
    CHECK_FALSE(publish(folder.write("b.part", "second"), folder / "a.mp4"));
    CHECK(read_file(folder / "a.mp4", 100) == "first");
    CHECK(read_file(folder / "b.part", 100) == "second");  // the caller's to remove
  }
}

TEST_CASE("a folder in which nothing can be published is told before any work, with the fix") {
  TempFolder folder;
  check_publishing(folder.path());
  const Behaves behaves(link_behaviour, Link::refused);
  check_publishing(folder.path());  // renames that replace nothing serve as well
  struct Row {
    int link;
    int rename2;
  };
  for (const Row& row : {Row{ENOSYS, EINVAL}, Row{EOPNOTSUPP, ENOSYS}, Row{EPERM, EINVAL}}) {
    link_refusal = row.link;
    rename2_refusal = row.rename2;
    const auto found = thrown_by([&] { check_publishing(folder.path()); });
    CHECK(found.kind == ErrorKind::storage);
    const std::string reason = std::strerror(row.rename2);
    for (const std::string& part : {folder.path(), std::string(kNoPublishing), std::string(kPublishingFix), reason}) {
      CHECK_MESSAGE(contains(found.message, part), found.message);
    }
    const auto publishing = thrown_by([&] { publish(folder.write("a.part", "one"), folder / "a.mp4"); });
    CHECK_MESSAGE(contains(publishing.message, kPublishingFix), publishing.message);
    remove_file(folder / "a.part");
    CHECK(entries(folder.path()) == 0);
  }
  link_refusal = EPERM;
  rename2_refusal = 0;
}

TEST_CASE("a stamp is another one as soon as another file stands there, or the same one was written") {
  TempFolder folder;
  CHECK(file_stamp(folder / "a") == "");
  const auto path = folder.write("a", "one");
  const std::string first = file_stamp(path);
  CHECK(!first.empty());
  CHECK(file_stamp(path) == first);
  replace_file(path, "one");
  CHECK(file_stamp(path) != first);
  CHECK(file_stamp(path + "/below") == "");
}

TEST_CASE("a publication that was cut off between its two steps is finished by the next call") {
  TempFolder folder;
  const auto temporary = folder.write("a.part", "one");
  REQUIRE(::linkat(AT_FDCWD, temporary.c_str(), AT_FDCWD, (folder / "a.mp4").c_str(), 0) == 0);
  CHECK(publish(temporary, folder / "a.mp4"));
  CHECK(entries(folder.path()) == 1);
}

TEST_CASE("a rename that reports an error but happened counts as done, one that did not happen does not") {
  TempFolder folder;
  folder.write("from", "new");
  folder.write("to", "old");
  {
    const Behaves refused(rename_behaviour, Link::refused);
    CHECK_THROWS_AS(rename_file(folder / "from", folder / "to"), Error);
    CHECK_THROWS_AS(replace_file(folder / "to", "newer"), Error);
  }
  CHECK(read_file(folder / "to", 10) == "old");
  const Behaves lying(rename_behaviour, Link::happens_but_fails);
  rename_file(folder / "from", folder / "to");
  CHECK(read_file(folder / "to", 10) == "new");
  replace_file(folder / "to", "newer");
  CHECK(read_file(folder / "to", 10) == "newer");
  CHECK(entries(folder.path()) == 1);
}

TEST_CASE("a rename of a file that is not there fails, although a file stands where it was to go") {
  TempFolder folder;
  folder.write("to", "x");
  CHECK(thrown_by([&] { rename_file(folder / "from", folder / "to"); }).kind == ErrorKind::storage);
  CHECK(read_file(folder / "to", 10) == "x");
}

TEST_CASE("what cannot be published is an error with the path") {
  TempFolder folder;
  CHECK(contains(thrown_by([&] { publish(folder / "none", folder / "a.mp4"); }).message, "No such file"));
  const auto temporary = folder.write("a.part", "one");
  const auto error = thrown_by([&] { publish(temporary, folder / "none/a.mp4"); });
  CHECK(error.kind == ErrorKind::storage);
  CHECK(contains(error.message, folder / "none/a.mp4"));
  const Behaves behaves(link_behaviour, Link::refused);
  CHECK(contains(thrown_by([&] { publish(temporary, folder / "none/a.mp4"); }).message, "cannot rename to"));
}

TEST_CASE("a file is replaced whole, with the mode asked for, and nothing is left beside it") {
  TempFolder folder;
  replace_file(folder / "a", "one");
  replace_file(folder / "a", std::string(1000000, 'x'), 0600);
  CHECK(read_file(folder / "a", 1000000) == std::string(1000000, 'x'));
  struct stat info {};
  REQUIRE(::stat((folder / "a").c_str(), &info) == 0);
  CHECK((info.st_mode & 0777U) == 0600);
  CHECK(entries(folder.path()) == 1);
}

TEST_CASE("a replacement that fails leaves what was there") {
  TempFolder folder;
  folder.write("taken/file", "x");
  CHECK(thrown_by([&] { replace_file(folder / "taken", "one"); }).kind == ErrorKind::storage);
  CHECK(entries(folder.path()) == 1);
  CHECK(contains(thrown_by([&] { replace_file(folder / "no/a", "one"); }).message, folder / "no/"));
}

TEST_CASE("reading is bounded, and a folder is not a file") {
  TempFolder folder;
  const auto path = folder.write("a", std::string(100000, 'x'));
  CHECK(read_file(path, 100000).size() == 100000);
  CHECK(contains(thrown_by([&] { read_file(path, 99999); }).message, "larger than 99999 bytes"));
  CHECK(contains(thrown_by([&] { read_file(folder.write("long", std::string(1001, 'x')), 1000); }).message,
                 "larger than 1000 bytes"));
  CHECK(contains(thrown_by([&] { read_file(folder.path(), 10); }).message, "is a folder"));
  CHECK(contains(thrown_by([&] { read_file(folder / "none", 10); }).message, "No such file"));
}

TEST_CASE("folders are made with their parents, and making them again is fine") {
  TempFolder folder;
  make_folders(folder / "a/b/c");
  make_folders(folder / "a/b/c");
  CHECK(std::filesystem::is_directory(folder / "a/b/c"));
  folder.write("file", "x");
  CHECK(thrown_by([&] { make_folders(folder / "file/d"); }).kind == ErrorKind::storage);
}

TEST_CASE("parents, removal, syncing and free space") {
  CHECK(parent_folder("/a/b") == "/a");
  CHECK(parent_folder("b") == ".");
  CHECK(parent_folder("/b") == "/");
  TempFolder folder;
  const auto path = folder.write("a", "x");
  sync_file(path);
  sync_folder(folder.path());
  CHECK_THROWS_AS(sync_folder(folder / "none"), Error);
  remove_file(path);
  remove_file(path);
  CHECK_FALSE(std::filesystem::exists(path));
  CHECK_THROWS_AS(remove_file(folder.path()), Error);
  CHECK(free_bytes(folder.path()) > 0);
  CHECK_THROWS_AS(free_bytes(folder / "none"), Error);
}

TEST_CASE("a descriptor has one owner and is closed once") {
  TempFolder folder;
  const auto path = folder.write("a", "x");
  Fd first(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  REQUIRE(first);
  const int number = first.get();
  Fd second(std::move(first));
  CHECK(second.get() == number);
  CHECK(::fcntl(number, F_GETFD) >= 0);
  second.reset();
  CHECK_FALSE(second);
  CHECK(::fcntl(number, F_GETFD) == -1);
  Fd third(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  third.close(path);
  CHECK_FALSE(third);
}

}  // namespace
}  // namespace nightreel::base

TEST_CASE("a link to nothing is told by its target, any other path by nothing") {
  using namespace nightreel;
  const test::TempFolder folder;
  folder.write("there", "x");
  std::filesystem::create_symlink("there", folder / "good");
  std::filesystem::create_symlink("../blobs/ab\ncd", folder / "cached");
  std::filesystem::create_symlink("gone", folder / "plain");
  CHECK(base::dangling_link(folder / "good").empty());
  CHECK(base::dangling_link(folder / "there").empty());
  CHECK(base::dangling_link(folder / "none").empty());
  CHECK(test::contains(base::dangling_link(folder / "cached"),
                       "is a link to ../blobs/ab\\x0acd, which is not there: the download was not finished"));
  CHECK(test::contains(base::dangling_link(folder / "plain"), "is a link to gone, which is not there: put the file"));
  const auto read = [&] { base::read_file(folder / "plain", 10); };
  CHECK(test::contains(test::error_of(base::ErrorKind::storage, read), "plain: is a link to gone"));
}
