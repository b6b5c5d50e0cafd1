#include "nightreel/media/video.h"

#include <sched.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cmath>
#include <thread>

#include "media/libav.h"
#include "media/limits.h"
#include "media/support.h"

// x265 3.5 does not free its parameters' copies.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() {
  return "leak:libx265";
}

namespace nightreel::media::test {
namespace {

using base::ErrorKind;

std::string encode(const Clip& clip, const VideoOptions& options = {}) {
  const TempFolder folder;
  write_video(folder / ".id.1.part", clip.view, options);
  return content(folder / ".id.1.part");
}

// Keeps every core busy.
class Load {
 public:
  Load() {
    for (auto& thread : threads_) {
      thread = std::thread([this] {
        while (!stop_.load(std::memory_order_relaxed)) {
        }
      });
    }
  }
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;
  ~Load() {
    stop_ = true;
    for (auto& thread : threads_) thread.join();
  }

 private:
  std::atomic<bool> stop_{false};
  std::array<std::thread, 3> threads_;
};

// All threads that start in the scope run on one core.
class OneCore {
 public:
  OneCore() {
    sched_getaffinity(0, sizeof before_, &before_);
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    sched_setaffinity(0, sizeof one, &one);
  }
  OneCore(const OneCore&) = delete;
  OneCore& operator=(const OneCore&) = delete;
  ~OneCore() { sched_setaffinity(0, sizeof before_, &before_); }

 private:
  cpu_set_t before_{};
};

// Independent of swscale: ITU-R BT.709, limited range, 8 bits, back to RGB.
std::array<double, 3> to_rgb(double y, double cb, double cr) {
  const double luma = (y - 16) / 219;
  const double blue = (cb - 128) / 224 * 1.8556;
  const double red = (cr - 128) / 224 * 1.5748;
  const double r = luma + red;
  const double b = luma + blue;
  const double g = (luma - 0.2126 * r - 0.0722 * b) / 0.7152;
  return {255 * r, 255 * g, 255 * b};
}

// The largest and the mean difference between the clip and what the file shows.
std::array<double, 2> decoded_error(const std::string& path, const Clip& clip) {
  av::Mp4Reader reader(path);
  av::Yuv picture;
  double worst = 0;
  double sum = 0;
  std::size_t at = 0;
  while (reader.next(picture)) {
    for (int y = 0; y < picture.height; ++y) {
      for (int x = 0; x < picture.width; ++x) {
        const auto chroma = [&](int plane) { return picture.planes[plane][y / 2 * picture.strides[plane] + x / 2]; };
        const auto rgb = to_rgb(picture.planes[0][y * picture.strides[0] + x], chroma(1), chroma(2));
        for (const double value : rgb) {
          const double error = std::abs(std::clamp(value, 0.0, 255.0) - clip.rgb.at(at++));
          worst = std::max(worst, error);
          sum += error;
        }
      }
    }
  }
  REQUIRE(at == clip.rgb.size());
  return {worst, sum / static_cast<double>(at)};
}

TEST_CASE("a video comes back with its size, rate and frame count") {
  struct Row {
    std::int64_t frames, height, width;
    double fps, expected;
  };
  for (const Row& row : {Row{1, 48, 48, 16, 16}, Row{5, 64, 48, 24, 24}, Row{17, 2, 2, 8, 8},
                         Row{9, 32, 80, 23.976, 24000.0 / 1001}, Row{9, 32, 80, 29.97, 30000.0 / 1001},
                         Row{9, 32, 80, 12.5, 12.5}, Row{9, 32, 80, 59.94, 60000.0 / 1001}, Row{9, 16, 16, 0.5, 0.5}}) {
    CAPTURE(row.fps);
    const TempFolder folder;
    VideoOptions options;
    options.fps = row.fps;
    write_video(folder / "v", moving_clip(row.frames, row.height, row.width).view, options);
    const VideoInfo info = check_video(folder / "v");
    CHECK(info.frames == row.frames);
    CHECK(info.height == row.height);
    CHECK(info.width == row.width);
    CHECK(info.fps == doctest::Approx(row.expected).epsilon(1e-9));
    CHECK(info.codec == "h264");
    CHECK(info.pix_fmt == "yuv420p");
  }
}

TEST_CASE("the same frames give the same bytes, alone, on busy cores and on one core") {
  const Clip clip = moving_clip(21, 96, 160);
  const std::string first = encode(clip);
  CHECK(encode(clip) == first);
  {
    const Load load;
    CHECK(encode(clip) == first);
  }
  {
    const OneCore one;
    CHECK(encode(clip) == first);
  }
  CHECK(encode(moving_clip(20, 96, 160)) != first);
}

TEST_CASE("the index stands in front and no time or library version in the file") {
  const std::string file = encode(moving_clip(5, 48, 48));
  CHECK(file.find("moov") < file.find("mdat"));
  CHECK(!contains(file, "Lavf"));
  CHECK(!contains(file, "Lavc"));
  CHECK(contains(file, "colrnclx"));
  const auto mvhd = file.find("mvhd");
  REQUIRE(mvhd != std::string::npos);
  CHECK(file.substr(mvhd + 8, 8) == std::string(8, '\0'));  // creation and modification time
}

TEST_CASE("solid colours are converted with BT.709's coefficients") {
  for (const std::array<std::uint8_t, 3>& colour : {std::array<std::uint8_t, 3>{255, 0, 0},
                                                    {0, 255, 0},
                                                    {0, 0, 255},
                                                    {255, 255, 255},
                                                    {0, 0, 0},
                                                    {128, 128, 128},
                                                    {255, 255, 0},
                                                    {17, 200, 90}}) {
    CAPTURE(int{colour[0]});
    CAPTURE(int{colour[1]});
    CAPTURE(int{colour[2]});
    const TempFolder folder;
    const Clip clip(3, 32, 32, [&](auto, auto, auto, int c) { return colour.at(static_cast<std::size_t>(c)); });
    write_video(folder / "v", clip.view, {});
    CHECK(decoded_error(folder / "v", clip)[0] <= 4);  // BT.601's would be off by 20 and more
  }
}

TEST_CASE("a gradient survives") {
  const TempFolder folder;
  const Clip clip(3, 64, 64, [](auto f, auto y, auto x, int c) {
    return static_cast<std::uint8_t>(c == 0 ? 3 * x + f : c == 1 ? 3 * y : 255 - 2 * x - y);
  });
  write_video(folder / "v", clip.view, {.fps = 16, .crf = 1, .codec = "h264"});
  const auto error = decoded_error(folder / "v", clip);
  CHECK(error[0] <= 16);
  CHECK(error[1] <= 2);
}

TEST_CASE("a higher crf makes a smaller file") {
  const Clip clip = moving_clip(9, 64, 64);
  CHECK(encode(clip, {.fps = 16, .crf = 40, .codec = "h264"}).size() < encode(clip).size());
}

TEST_CASE("hevc, where libavcodec has it, can be written and says nothing about its host") {
  if (!av::has_encoder("libx265")) {
    MESSAGE("skipped: this libavcodec has no libx265");
    return;
  }
  const TempFolder folder;
  const Clip clip = moving_clip(5, 64, 64);
  const VideoOptions options{.fps = 16, .crf = 18, .codec = "hevc"};
  write_video(folder / "v", clip.view, options);
  CHECK(check_video(folder / "v").codec == "hevc");
  CHECK(check_video(folder / "v").frames == 5);
  CHECK(!contains(content(folder / "v"), "x265"));
}

TEST_CASE("what cannot be encoded is named") {
  const TempFolder folder;
  struct Row {
    std::int64_t height, width;
    VideoOptions options;
    std::string part;
  };
  const VideoOptions plain;
  for (const Row& row : {Row{31, 32, plain, "height: 31"}, Row{32, 33, plain, "width: 33"}, Row{0, 32, plain, "height"},
                         Row{32, 1 << 20, plain, "width"}, Row{32, 32, {.fps = 0, .crf = 18, .codec = "h264"}, "fps"},
                         Row{32, 32, {.fps = NAN, .crf = 18, .codec = "h264"}, "fps"},
                         Row{32, 32, {.fps = 1e9, .crf = 18, .codec = "h264"}, "fps"},
                         Row{32, 32, {.fps = 1e-9, .crf = 18, .codec = "h264"}, "fps"},
                         Row{32, 32, {.fps = 16, .crf = 52, .codec = "h264"}, "crf"},
                         Row{32, 32, {.fps = 16, .crf = -1, .codec = "h264"}, "crf"},
                         Row{32, 32, {.fps = 16, .crf = 18, .codec = "vp9"}, "codec vp9: unknown; available: h264"}}) {
    const std::string error =
        error_of(ErrorKind::usage, [&] { VideoWriter(folder / "v", row.height, row.width, row.options); });
    CHECK_MESSAGE(contains(error, row.part), error);
    CHECK(folder.empty());
  }
}

TEST_CASE("frames that do not fit their buffer are refused") {
  const TempFolder folder;
  const Clip clip = moving_clip(2, 16, 16);
  for (const Frames& frames : {Frames{3, 16, 16, clip.rgb}, Frames{2, 16, 14, clip.rgb}, Frames{0, 16, 16, {}},
                               Frames{-2, 16, -16, clip.rgb}, Frames{std::int64_t{1} << 62, 16, 16, clip.rgb}}) {
    error_of(ErrorKind::internal, [&] { write_video(folder / "v", frames, {}); });
    CHECK(folder.empty());
  }
  VideoWriter writer(folder / "w", 16, 16, {});
  error_of(ErrorKind::internal, [&] { writer.add_frame(clip.rgb); });
}

TEST_CASE("a video that is not finished leaves no file") {
  const TempFolder folder;
  {
    VideoWriter writer(folder / "v", 16, 16, {});
    writer.add_frame(moving_clip(1, 16, 16).rgb);
    CHECK(!folder.empty());
  }
  CHECK(folder.empty());
  {
    VideoWriter writer(folder / "v", 16, 16, {});
    error_of(ErrorKind::internal, [&] { writer.finish(); });
  }
  CHECK(folder.empty());
}

TEST_CASE("a full disk is an error with the path, and nothing is left") {
  const Clip clip = moving_clip(17, 96, 96);
  const std::size_t whole = encode(clip).size();
  const TempFolder folder;
  for (const std::size_t limit : {std::size_t{0}, std::size_t{20}, std::size_t{1000}, whole / 2, whole - 1}) {
    CAPTURE(limit);
    std::string error;
    {
      const FileSizeLimit full(limit);
      error = error_of(ErrorKind::storage, [&] { write_video(folder / "v", clip.view, {}); });
    }
    CHECK_MESSAGE(contains(error, folder / "v"), error);
    CHECK(folder.empty());
  }
  std::filesystem::create_symlink("/dev/full", folder / "v");
  const std::string error = error_of(ErrorKind::storage, [&] { write_video(folder / "v", clip.view, {}); });
  CHECK_MESSAGE(contains(error, "No space left on device"), error);
  CHECK(folder.empty());
}

TEST_CASE("a folder that is missing, is a file or may not be written is named") {
  const TempFolder folder;
  put(folder / "file", "x");
  std::filesystem::permissions(folder.path(), std::filesystem::perms(0555));
  const Clip clip = moving_clip(1, 16, 16);
  for (const std::string& path : {folder / "missing/v", folder / "file/v", folder / "v"}) {
    const Unprivileged nobody;
    REQUIRE(nobody.holds());
    const std::string error = error_of(ErrorKind::storage, [&] { write_video(path, clip.view, {}); });
    CHECK_MESSAGE(contains(error, path), error);
  }
  std::filesystem::permissions(folder.path(), std::filesystem::perms(0755));
}

TEST_CASE("a name with a colon is a file") {
  const TempFolder folder;
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(folder.path());
  write_video("http:v", moving_clip(1, 16, 16).view, {});
  CHECK(check_video("http:v").frames == 1);
  std::filesystem::current_path(before);
}

TEST_CASE("broken files are errors with the path") {
  const TempFolder folder;
  const std::string good = encode(moving_clip(9, 48, 48));
  const std::string no_index = [&] {
    std::string bytes = good;
    bytes.replace(bytes.find("moov"), 4, "moon");
    return bytes;
  }();
  for (const std::string& bytes :
       {std::string(), std::string("x"), std::string("#EXTM3U\n#EXTINF:1,\nhttp://localhost/x.ts\n"),
        std::string(5000, '\0'), good.substr(0, 40), good.substr(0, good.size() / 2), good.substr(0, good.size() - 1),
        good.substr(8), no_index}) {
    CAPTURE(bytes.size());
    put(folder / "v", bytes);
    const std::string error = error_of(ErrorKind::storage, [&] { check_video(folder / "v"); });
    CHECK_MESSAGE(contains(error, folder / "v"), error);
  }
  CHECK(contains(error_of(ErrorKind::storage, [&] { check_video(folder / "none"); }), "No such file"));
  error_of(ErrorKind::storage, [&] { check_video(folder.path()); });
}

TEST_CASE("no flipped bit in a file makes the check crash") {
  const TempFolder folder;
  const std::string good = encode(moving_clip(3, 32, 32));
  std::size_t refused = 0;
  std::size_t tried = 0;
  for (std::size_t at = 0; at < good.size(); at += 1 + at / 800) {
    std::string bytes = good;
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << (at % 8)));
    put(folder / "v", bytes);
    ++tried;
    bool passed = false;
    CHECK(survives(ErrorKind::storage, [&] {
      check_video(folder / "v");
      passed = true;
    }));
    refused += passed ? 0 : 1;
  }
  CHECK(refused > tried / 10);
}

}  // namespace
}  // namespace nightreel::media::test
