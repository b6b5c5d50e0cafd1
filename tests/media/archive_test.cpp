#include "nightreel/media/archive.h"

#include <chrono>
#include <cmath>
#include <cstring>
#include <ctime>
#include <limits>
#include <thread>

#include "media/limits.h"
#include "media/support.h"
#include "nightreel/hdf5/file.h"

namespace nightreel::media::test {
namespace {

using base::ErrorKind;
using nlohmann::json;

const std::vector<float>& latents() {
  static const std::vector<float> values = [] {
    std::vector<float> out(4 * 3 * 6 * 5);
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = std::sin(static_cast<float>(i)) * 3;
    out[7] = std::numeric_limits<float>::quiet_NaN();
    out[8] = -0.0F;
    return out;
  }();
  return values;
}

ArchiveView sample_archive(const Frames& frames = {}) {
  ArchiveView archive;
  archive.job = {{"prompt", "a cat, \"naïve\" 猫"}, {"seed", 18446744073709551615U}};
  archive.settings = {{"fps", 23.976}, {"long", std::string(100000, 'x')}};
  archive.model = {{"digest", "0123"}};
  archive.latents_shape = {4, 3, 6, 5};
  archive.latents = latents();
  archive.frames = frames;
  return archive;
}

bool same_bits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

TEST_CASE("an archive comes back as it was, with and without frames") {
  const TempFolder folder;
  const Clip clip = moving_clip(9, 48, 40);
  for (const Frames& frames : {Frames{}, clip.view}) {
    const ArchiveView written = sample_archive(frames);
    write_archive(folder / "a.h5", written);
    const Archive read = read_archive(folder / "a.h5");
    CHECK(read.job == written.job);
    CHECK(read.settings == written.settings);
    CHECK(read.model == written.model);
    CHECK(read.latents_shape == written.latents_shape);
    CHECK(same_bits(read.latents, written.latents));
    CHECK(read.has_frames() == !frames.rgb.empty());
    CHECK(std::equal(read.rgb.begin(), read.rgb.end(), frames.rgb.begin(), frames.rgb.end()));
    CHECK(read.frames().height == frames.height);
    CHECK(read.frames().frames == frames.frames);
  }
}

TEST_CASE("equal content gives equal bytes at any time") {
  const TempFolder folder;
  const Clip clip = moving_clip(9, 48, 40);
  write_archive(folder / "a.h5", sample_archive(clip.view));
  const std::time_t written = std::time(nullptr);  // HDF5's times are whole seconds
  while (std::time(nullptr) == written) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  write_archive(folder / "b.h5", sample_archive(clip.view));
  CHECK(content(folder / "a.h5") == content(folder / "b.h5"));
}

TEST_CASE("archives are written from several threads at once") {
  const TempFolder folder;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      ArchiveView archive = sample_archive();
      archive.job["seed"] = i;
      for (int round = 0; round < 10; ++round) write_archive(folder / (std::to_string(i) + ".h5"), archive);
    });
  }
  for (auto& thread : threads) thread.join();
  for (int i = 0; i < 4; ++i) CHECK(read_archive(folder / (std::to_string(i) + ".h5")).job["seed"] == i);
}

TEST_CASE("latents that do not fit their shape are refused") {
  const TempFolder folder;
  for (const std::array<std::int64_t, 4>& shape :
       {std::array<std::int64_t, 4>{4, 3, 6, 6}, {0, 3, 6, 5}, {-4, -3, 6, 5}, {65536, 65536, 65536, 65536}}) {
    ArchiveView archive = sample_archive();
    archive.latents_shape = shape;
    error_of(ErrorKind::internal, [&] { write_archive(folder / "a.h5", archive); });
  }
  ArchiveView none = sample_archive();
  none.latents = {};
  none.latents_shape = {65536, 65536, 65536, 65536};  // their product is 2^64
  error_of(ErrorKind::internal, [&] { write_archive(folder / "a.h5", none); });
  CHECK(folder.empty());
}

TEST_CASE("a full disk and a missing folder are errors, and nothing is left") {
  const TempFolder folder;
  for (const rlim_t limit : {rlim_t{0}, rlim_t{1000}}) {
    const FileSizeLimit full(limit);
    error_of(ErrorKind::storage, [&] { write_archive(folder / "a.h5", sample_archive()); });
  }
  error_of(ErrorKind::storage, [&] { write_archive(folder / "missing/a.h5", sample_archive()); });
  error_of(ErrorKind::storage, [&] { read_archive(folder / "missing.h5"); });
  CHECK(folder.empty());
}

// An HDF5 file that is sound and no archive of ours: each row changes one thing.
struct Odd {
  std::string what;  // part of the message
  std::string format = kArchiveFormat;
  std::int64_t version = kArchiveVersion;
  std::string job = "{}";
  hdf5::Type type = hdf5::Type::float32;
  hdf5::Shape latents = {1, 1, 2, 2};
  hdf5::Shape frames = {};
  std::string name = "latents";
};

void write_odd(const std::string& path, const Odd& odd) {
  hdf5::File file = hdf5::File::create(path);
  file.write_text("format", odd.format);
  file.write_integer("format_version", odd.version);
  for (const char* attribute : {"job", "settings", "model"}) file.write_text(attribute, odd.job);
  const std::vector<double> zeros(64);
  file.write(odd.name, odd.type, odd.latents, zeros.data(), {});
  if (!odd.frames.empty()) file.write("frames", hdf5::Type::uint8, odd.frames, zeros.data(), {});
  put(path, file.close());
}

TEST_CASE("a file that is no archive of this version is refused by the thing that is wrong") {
  const TempFolder folder;
  write_odd(folder / "a.h5", {});
  CHECK(read_archive(folder / "a.h5").latents == std::vector<float>(4));
  for (const Odd& odd :
       {Odd{.what = "format is \"nightreel-checkpoint\"", .format = "nightreel-checkpoint"},
        Odd{.what = "format_version is 2", .version = 2}, Odd{.what = "attribute job: ", .job = "{"},
        Odd{.what = "attribute job: ", .job = "{\"a\":1,\"a\":2}"}, Odd{.what = "must be a JSON object", .job = "[]"},
        Odd{.what = "/latents must be float32", .type = hdf5::Type::float64},
        Odd{.what = "/latents must be float32", .latents = {1, 2, 2}},
        Odd{.what = "/latents must be float32", .latents = {1, 0, 2, 2}},
        Odd{.what = "/frames must be uint8", .frames = {1, 2, 2, 4}},
        Odd{.what = "/frames must be uint8", .frames = {4, 3}}, Odd{.what = "/latents is missing", .name = "other"}}) {
    write_odd(folder / "a.h5", odd);
    const std::string error = error_of(ErrorKind::usage, [&] { read_archive(folder / "a.h5"); });
    CHECK_MESSAGE(contains(error, odd.what), error);
    CHECK_MESSAGE(contains(error, folder / "a.h5"), error);
  }
}

TEST_CASE("files that are not HDF5, or cut off, are refused") {
  const TempFolder folder;
  write_archive(folder / "good", sample_archive());
  const std::string good = content(folder / "good");
  for (const std::string& bytes : {std::string(), std::string("x"), std::string(4096, '\0'), good.substr(0, 8),
                                   good.substr(0, good.size() / 2), good.substr(0, good.size() - 1), good.substr(1)}) {
    CAPTURE(bytes.size());
    put(folder / "a.h5", bytes);
    CHECK(contains(error_of(ErrorKind::usage, [&] { read_archive(folder / "a.h5"); }), folder / "a.h5"));
  }
}

TEST_CASE("bytes that crash HDF5 1.10.8 or keep it busy are errors") {
  const TempFolder folder;
  write_archive(folder / "good", sample_archive());
  const std::string good = content(folder / "good");
  const std::size_t heap = good.find("GCOL");  // where strings live, the one structure without a checksum
  REQUIRE(heap != std::string::npos);
  int read = 0;
  for (std::size_t at = heap; at < heap + 40; ++at) {
    for (const int mask : {1, 0xFF}) {
      if (at == heap + 25 && mask == 1) continue;  // keeps HDF5 busy until its time is up, as does the one before it
      std::string bytes = good;
      bytes[at] = static_cast<char>(bytes[at] ^ mask);
      put(folder / "a.h5", bytes);
      CHECK(survives(ErrorKind::usage, [&] {
        read_archive(folder / "a.h5");
        ++read;
      }));
    }
  }
  CHECK(read < 79 / 2);  // most of them are found
}

TEST_CASE("a flipped bit in the latents or the frames is found") {
  const TempFolder folder;
  std::vector<float> ones(4 * 3 * 6 * 5, 1.0F);
  ArchiveView archive = sample_archive();
  archive.latents = ones;
  const Clip clip(2, 16, 16, [](auto, auto, auto, int) { return std::uint8_t{7}; });
  archive.frames = clip.view;
  write_archive(folder / "good", archive);
  const std::string good = content(folder / "good");
  const std::size_t latent = good.find(std::string("\0\0\x80\x3F\0\0\x80\x3F", 8));
  const std::size_t frame = good.find("\x78\x5E");  // zlib's header at level 4
  for (const std::size_t at : {latent + 64, frame + 6}) {
    REQUIRE(at < good.size());
    std::string bytes = good;
    bytes[at] = static_cast<char>(bytes[at] ^ 1);
    put(folder / "a.h5", bytes);
    CHECK(contains(error_of(ErrorKind::usage, [&] { read_archive(folder / "a.h5"); }), "cannot be read"));
  }
}

}  // namespace
}  // namespace nightreel::media::test
