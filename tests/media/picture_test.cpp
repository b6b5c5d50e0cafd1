#include "nightreel/media/picture.h"

#include "media/limits.h"
#include "media/support.h"

namespace nightreel::media::test {
namespace {

using base::ErrorKind;

// Width and height as the JPEG's start-of-frame marker states them.
std::pair<int, int> jpeg_size(const std::string& jpeg) {
  const auto at = jpeg.find("\xFF\xC0");
  REQUIRE(at != std::string::npos);
  const auto byte = [&](std::size_t i) { return static_cast<int>(static_cast<unsigned char>(jpeg.at(at + i))); };
  return {byte(7) * 256 + byte(8), byte(5) * 256 + byte(6)};
}

TEST_CASE("sheets are at most 1600 pixels wide and small frames grow by whole factors") {
  struct Row {
    std::int64_t frames, height, width;
    std::pair<int, int> sheet;
  };
  for (const Row& row :
       {Row{17, 48, 48, {4 * 388 - 4, 2 * 388 - 4}}, Row{1, 48, 48, {1584, 1584}}, Row{2, 64, 64, {2 * 772 - 4, 768}},
        Row{81, 480, 832, {1600, 2 * 233 - 4}}, Row{81, 832, 480, {1600, 2 * 692 - 4}}, Row{5, 397, 397, {1600, 798}},
        Row{3, 2, 16, {3 * 532 - 4, 66}}, Row{5, 3, 5, {4 * 399 - 4, 2 * 241 - 4}}}) {
    CAPTURE(row.frames);
    CAPTURE(row.width);
    const TempFolder folder;
    write_sheet(folder / ".s.part", moving_clip(row.frames, row.height, row.width).view);
    const std::string jpeg = content(folder / ".s.part");
    CHECK(jpeg.substr(0, 3) == "\xFF\xD8\xFF");
    CHECK(jpeg.substr(jpeg.size() - 2) == "\xFF\xD9");
    CHECK(jpeg_size(jpeg) == row.sheet);
    CHECK(!contains(jpeg, "Lavc"));
  }
}

TEST_CASE("equal frames give equal sheets") {
  const TempFolder folder;
  for (const auto& [height, width] : {std::pair<int, int>{48, 48}, {480, 832}}) {
    const Clip clip = moving_clip(9, height, width);
    write_sheet(folder / "a", clip.view);
    write_sheet(folder / "b", clip.view);
    CHECK(content(folder / "a") == content(folder / "b"));
    write_sheet(folder / "b", moving_clip(8, height, width).view);
    CHECK(content(folder / "a") != content(folder / "b"));
  }
}

TEST_CASE("a sheet that cannot be written is an error and leaves nothing") {
  const TempFolder folder;
  const Clip clip = moving_clip(9, 48, 48);
  error_of(ErrorKind::internal, [&] { write_sheet(folder / "s", {9, 48, 40, clip.rgb}); });
  error_of(ErrorKind::storage, [&] { write_sheet(folder / "missing/s", clip.view); });
  {
    const FileSizeLimit full(100);
    error_of(ErrorKind::storage, [&] { write_sheet(folder / "s", clip.view); });
  }
  CHECK(folder.empty());
}

}  // namespace
}  // namespace nightreel::media::test
