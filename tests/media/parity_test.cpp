// What other programs see in our files: h5py, Pillow and ffprobe, each asked for the facts that CONTRACT promises.
#include <chrono>

#include "media/support.h"
#include "nightreel/base/json.h"
#include "nightreel/base/process.h"
#include "nightreel/media/archive.h"
#include "nightreel/media/checkpoint.h"
#include "nightreel/media/picture.h"
#include "nightreel/media/video.h"

#include <unistd.h>

namespace nightreel::media::test {
namespace {

using nlohmann::json;

json run(const std::vector<std::string>& argv) {
  base::ChildOptions options;
  options.argv = argv;
  options.pipe_stdin = false;
  base::Child child(options);
  std::string out;
  char buffer[4096];
  for (ssize_t n = 0; (n = ::read(child.stdout_fd(), buffer, sizeof buffer)) > 0;) {
    out.append(buffer, static_cast<std::size_t>(n));
  }
  REQUIRE(child.wait(std::chrono::seconds(30)).has_value());
  REQUIRE_MESSAGE(child.code() == 0, argv[0]);
  return base::parse_json(out);
}

json python(const std::string& code, const std::string& path) {
  const char* source = std::getenv("NIGHTREEL_SOURCE_DIR");
  REQUIRE(source != nullptr);
  const std::string header = "import sys, json\np = sys.argv[1]\n";
  return run({std::string(source) + "/.venv/bin/python", "-c", header + code, path});
}

TEST_CASE("h5py reads an archive as the contract says") {
  const TempFolder folder;
  std::vector<float> latents(2 * 3 * 4 * 5);
  for (std::size_t i = 0; i < latents.size(); ++i) latents[i] = static_cast<float>(i) / 8;
  const Clip clip = moving_clip(5, 16, 24);
  ArchiveView archive;
  archive.job = {{"prompt", "猫 \"a\""}};
  archive.settings = {{"fps", 16}};
  archive.model = {{"digest", "d"}};
  archive.latents_shape = {2, 3, 4, 5};
  archive.latents = latents;
  archive.frames = clip.view;
  write_archive(folder / "a.h5", archive);
  const json seen = python(R"(
import h5py
f = h5py.File(p)
a, l, r = f.attrs, f['latents'], f['frames']
print(json.dumps({
  'format': a['format'] == 'nightreel-archive', 'version': int(a['format_version']),
  'job': json.loads(a['job']), 'settings': json.loads(a['settings']), 'model': json.loads(a['model']),
  'latents': [str(l.dtype), list(l.shape), l[...].ravel().tolist()],
  'frames': [str(r.dtype), list(r.shape), r.chunks is not None, r.compression, r[...].ravel().tolist()]}))
)",
                           folder / "a.h5");
  CHECK(seen["format"] == true);
  CHECK(seen["version"] == 1);
  CHECK(seen["job"] == archive.job);
  CHECK(seen["settings"] == archive.settings);
  CHECK(seen["model"] == archive.model);
  CHECK(seen["latents"] == json{"float32", {2, 3, 4, 5}, latents});
  CHECK(seen["frames"] == json{"uint8", {5, 16, 24, 3}, true, "gzip", clip.rgb});
}

TEST_CASE("an archive that h5py wrote with its defaults is read") {
  const TempFolder folder;
  python(R"(
import h5py, numpy as np
with h5py.File(p, 'w') as f:
  f.attrs['format'] = 'nightreel-archive'
  f.attrs['format_version'] = 1
  f.attrs['job'] = np.bytes_(b'{"prompt": "x"}')
  for name in ('settings', 'model'): f.attrs[name] = '{}'
  f['latents'] = np.arange(8, dtype='>f4').reshape(1, 2, 2, 2)
print('{}')
)",
         folder / "a.h5");
  const Archive archive = read_archive(folder / "a.h5");
  CHECK(archive.job == json{{"prompt", "x"}});
  CHECK(archive.latents == std::vector<float>{0, 1, 2, 3, 4, 5, 6, 7});
}

TEST_CASE("an archive whose data lie elsewhere is refused") {
  const TempFolder folder;
  const std::vector<std::string> lines{
      "f['latents'] = h5py.ExternalLink('/etc/passwd', '/x')",
      "f['latents'] = h5py.SoftLink('/y')",
      "f.create_dataset('latents', (1, 1, 2, 2), 'f4', external=[('/etc/passwd', 0, 16)])",
      "f.create_dataset('latents', (60000, 60000, 2, 2), 'f4', chunks=True)",
      "f['latents'] = np.zeros((1, 1, 2, 2), 'f8')",
      "f.create_group('latents')"};
  std::string code = "import h5py, numpy as np\n";
  for (std::size_t i = 0; i < lines.size(); ++i) {
    code += "with h5py.File(p + '/" + std::to_string(i) + R"(.h5', 'w') as f:
  f.attrs['format'] = 'nightreel-archive'
  f.attrs['format_version'] = 1
  for name in ('job', 'settings', 'model'): f.attrs[name] = '{}'
  )" + lines[i] +
            "\n";
  }
  python(code + "print('{}')\n", folder.path());
  for (std::size_t i = 0; i < lines.size(); ++i) {
    CAPTURE(lines[i]);
    const std::string file = folder / (std::to_string(i) + ".h5");
    const std::string error = error_of(base::ErrorKind::usage, [&] { read_archive(file); });
    CHECK_MESSAGE(contains(error, "latents"), error);
  }
}

TEST_CASE("h5py reads a checkpoint behind its user block") {
  const TempFolder folder;
  StateFile state;
  state.arrays["x"] = {{2}, std::vector<float>{1, 2}};
  write_state(folder / "c.h5", state);
  const json seen = python(
      "import h5py\nf = h5py.File(p)\nprint(json.dumps([f.attrs['format'], f.userblock_size, f['x'][...].tolist()]))",
      folder / "c.h5");
  CHECK(seen == json{"nightreel-checkpoint", 512, {1, 2}});
}

TEST_CASE("Pillow opens a contact sheet and sees its colours") {
  const TempFolder folder;
  const Clip clip(2, 48, 48, [](auto f, auto, auto, int c) { return static_cast<std::uint8_t>(f == c ? 255 : 0); });
  write_sheet(folder / "s.jpg", clip.view);
  const json seen = python(R"(
from PIL import Image
i = Image.open(p)
print(json.dumps([i.format, i.mode, list(i.size), list(i.getpixel((100, 100))), list(i.getpixel((1400, 100)))]))
)",
                           folder / "s.jpg");
  CHECK(seen[0] == "JPEG");
  CHECK(seen[1] == "RGB");
  CHECK(seen[2] == json{768 + 4 + 768, 768});
  for (int c = 0; c < 3; ++c) {
    CHECK(std::abs(seen[3][c].get<int>() - (c == 0 ? 255 : 0)) <= 3);
    CHECK(std::abs(seen[4][c].get<int>() - (c == 1 ? 255 : 0)) <= 3);
  }
}

TEST_CASE("ffprobe sees the tags that the contract promises") {
  const TempFolder folder;
  write_video(folder / "v.mp4", moving_clip(17, 48, 64).view, {});
  const json probe = run(
      {"ffprobe", "-v", "error", "-count_frames", "-show_streams", "-show_format", "-of", "json", folder / "v.mp4"});
  REQUIRE(probe["streams"].size() == 1);
  const json expected{{"codec_name", "h264"},
                      {"width", 64},
                      {"height", 48},
                      {"pix_fmt", "yuv420p"},
                      {"color_range", "tv"},
                      {"color_space", "bt709"},
                      {"color_transfer", "bt709"},
                      {"color_primaries", "bt709"},
                      {"avg_frame_rate", "16/1"},
                      {"nb_read_frames", "17"},
                      {"chroma_location", "left"},
                      {"duration", "1.062500"}};
  for (const auto& [key, value] : expected.items()) {
    CAPTURE(key);
    CHECK(probe["streams"][0][key] == value);
  }
  CHECK(!probe["format"]["tags"].contains("creation_time"));
  CHECK(!probe["format"]["tags"].contains("encoder"));
}

}  // namespace
}  // namespace nightreel::media::test
