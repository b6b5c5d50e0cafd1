#include "nightreel/media/checkpoint.h"

#include <atomic>
#include <cmath>
#include <limits>
#include <thread>

#include "media/limits.h"
#include "media/support.h"
#include "nightreel/base/hash.h"

namespace nightreel::media::test {
namespace {

using base::ErrorKind;

StateFile sample_state() {
  StateFile state;
  state.job_hash = "abc";
  state.model_digest = "def";
  state.info = {{"step", 7}, {"sampler", "unipc"}, {"nested", {{"a", {1, 2, 3}}}}};
  state.arrays["latents"] = {{2, 3}, std::vector<float>{0.1F, -0.0F, 3, 4, 5e-40F, INFINITY}};
  state.arrays["sigmas"] = {{3}, std::vector<double>{1.0, 1.0 / 3, 0}};
  state.arrays["one"] = {{}, std::vector<double>{0.1}};
  state.arrays["steps"] = {{2}, std::vector<std::int64_t>{std::numeric_limits<std::int64_t>::min(), 9}};
  state.arrays["none"] = {{0, 4}, std::vector<float>{}};
  return state;
}

TEST_CASE("a state comes back as it was") {
  const TempFolder folder;
  const StateFile written = sample_state();
  write_state(folder / "c.h5", written);
  const StateFile read = read_state(folder / "c.h5");
  CHECK(read.job_hash == "abc");
  CHECK(read.model_digest == "def");
  CHECK(read.info == written.info);
  REQUIRE(read.arrays.size() == written.arrays.size());
  for (const auto& [name, array] : written.arrays) {
    CAPTURE(name);
    CHECK(read.arrays.at(name).shape == array.shape);
    CHECK(read.arrays.at(name).values == array.values);
  }
  write_state(folder / "d.h5", written);
  CHECK(content(folder / "c.h5") == content(folder / "d.h5"));
}

TEST_CASE("states are written and read from several threads at once") {
  const TempFolder folder;
  std::atomic<int> right{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      const std::string path = folder / std::to_string(i);
      StateFile state = sample_state();
      for (int round = 0; round < 10; ++round) {
        state.info["step"] = 100 * i + round;
        write_state(path, state);
        right += read_state(path).info == state.info ? 1 : 0;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(right == 40);
}

TEST_CASE("values are asked for by name, type and shape") {
  const StateFile state = sample_state();
  CHECK(state.values<double>("sigmas", {3}).at(0) == 1.0);
  CHECK(contains(error_of(ErrorKind::storage, [&] { state.values<double>("sigma", {3}); }), "sigma is missing"));
  error_of(ErrorKind::storage, [&] { state.values<float>("sigmas", {3}); });
  error_of(ErrorKind::storage, [&] { state.values<double>("sigmas", {3, 1}); });
}

TEST_CASE("a new state replaces the old one, and the old one stays when the new one cannot be written") {
  const TempFolder folder;
  write_state(folder / "c.h5", sample_state());
  StateFile next = sample_state();
  next.info["step"] = 8;
  {
    const FileSizeLimit full(2000);
    error_of(ErrorKind::storage, [&] { write_state(folder / "c.h5", next); });
  }
  CHECK(read_state(folder / "c.h5").info["step"] == 7);
  write_state(folder / "c.h5", next);
  CHECK(read_state(folder / "c.h5").info["step"] == 8);
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
}

TEST_CASE("arrays that do not fit their shape, and names that no file could hold, are refused") {
  const TempFolder folder;
  const std::vector<float> six(6);
  const std::map<std::string, StateArray> bad{{"a", {{7}, six}},
                                              {"b", {{-2, -3}, six}},
                                              {"c", {{2, 0}, six}},
                                              {"a/b", {{6}, six}},
                                              {"", {{6}, six}},
                                              {".", {{6}, six}},
                                              {"d", {{1, 1, 1, 1, 1, 1, 1, 1, 6}, six}}};
  for (const auto& [name, array] : bad) {
    CAPTURE(name);
    StateFile state;
    state.arrays[name] = array;
    error_of(ErrorKind::internal, [&] { write_state(folder / "c.h5", state); });
  }
  CHECK(folder.empty());
}

TEST_CASE("a hostile file whose checksum is right costs the file, not the process") {
  const TempFolder folder;
  write_state(folder / "good", sample_state());
  const std::string good = content(folder / "good").substr(512);
  const std::size_t heap = good.find("GCOL");  // where strings live: bytes that crash HDF5 1.10.8 or keep it busy
  REQUIRE(heap != std::string::npos);
  int read = 0;
  for (std::size_t at = heap; at < heap + 40; ++at) {
    for (const int mask : {1, 0xFF}) {
      if (at == heap + 25 && mask == 1) continue;  // keeps HDF5 busy until its time is up, as does the one before it
      std::string image = good;
      image[at] = static_cast<char>(image[at] ^ mask);
      std::string block = "nightreel-checkpoint xxh3-128 " + base::xxh128_hex(image) + "\n";
      block.resize(512, '\0');
      put(folder / "c.h5", block + image);
      CHECK(survives(ErrorKind::storage, [&] {
        read_state(folder / "c.h5");
        ++read;
      }));
    }
  }
  CHECK(read < 79 / 2);  // most of them are found
}

TEST_CASE("any flipped bit and any cut is found, and the file is named") {
  const TempFolder folder;
  write_state(folder / "good", sample_state());
  const std::string good = content(folder / "good");
  const auto refused = [&](const std::string& bytes) {
    put(folder / "c.h5", bytes);
    const std::string error = error_of(ErrorKind::storage, [&] { read_state(folder / "c.h5"); });
    CHECK_MESSAGE(contains(error, folder / "c.h5"), error);
  };
  for (std::size_t at = 0; at < good.size(); ++at) {
    std::string bytes = good;
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << (at % 8)));
    refused(bytes);
  }
  for (std::size_t size = 0; size < good.size(); size += 97) refused(good.substr(0, size));
  refused(good + "x");
  error_of(ErrorKind::storage, [&] { read_state(folder / "none.h5"); });
}

}  // namespace
}  // namespace nightreel::media::test
