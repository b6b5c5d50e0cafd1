// Pictures of every kind, read and resized as Pillow and diffusers do it (make_images.py).
#include <chrono>
#include <cstdlib>
#include <iostream>

#include "media/support.h"
#include "nightreel/base/json.h"
#include "nightreel/base/process.h"
#include "nightreel/media/image_reader.h"
#include "nightreel/media/resample.h"

namespace nightreel::media::test {
namespace {

constexpr std::size_t kMaxBytes = 64U << 20U;

/// Where the pictures are: among the goldens (tests/parity), or in `folder`, where a build without the engine has none.
std::string pictures_in(const std::string& folder) {
  const char* source = std::getenv("NIGHTREEL_SOURCE_DIR");
  const char* build = std::getenv("NIGHTREEL_BINARY_DIR");
  REQUIRE(source != nullptr);
  REQUIRE(build != nullptr);
  const std::string root = source;
  const std::string made = std::string(build) + "/goldens/images";
  if (std::filesystem::exists(made + "/cases.json")) return made;
  base::ChildOptions options;
  options.argv = {root + "/.venv/bin/python", root + "/tests/media/make_images.py", folder};
  options.pipe_stdin = false;
  options.pipe_stdout = false;
  base::Child child(options);
  REQUIRE(child.wait(std::chrono::seconds(110)).has_value());
  REQUIRE(child.code() == 0);
  return folder;
}

/// The largest difference of two pictures' bytes.
int gap(const std::vector<std::uint8_t>& ours, const std::string& theirs) {
  if (ours.size() != theirs.size()) return 256;
  int largest = 0;
  for (std::size_t i = 0; i < ours.size(); ++i) {
    largest = std::max(largest, std::abs(ours[i] - static_cast<std::uint8_t>(theirs[i])));
  }
  return largest;
}

TEST_CASE("pictures are read and resized as diffusers does it, and resampled as Pillow does it") {
  const TempFolder own;
  const std::string folder = pictures_in(own.path()) + "/";
  const auto cases = base::read_json(folder + "cases.json");
  CHECK(cases.size() >= 20);
  for (const auto& [name, size] : cases.items()) {
    CAPTURE(name);
    const Image image = read_image(folder + name);
    CHECK(image.width == size.at(0));
    CHECK(image.height == size.at(1));
    const int read = gap(image.rgb, base::read_file(folder + name + ".rgb", kMaxBytes));
    const int sized =
        gap(resample(image, 96, 64, Filter::lanczos).rgb, base::read_file(folder + name + ".sized", kMaxBytes));
    std::cout << name << ": read " << read << ", sized " << sized << " of 255\n";
    CHECK(read == 0);
    CHECK(sized == 0);
  }

  const std::string raw = base::read_file(folder + "photo.raw", kMaxBytes);
  int resampled = 0;
  const Image photo{101, 57, {raw.begin(), raw.end()}};
  for (const auto& entry : base::read_json(folder + "resample.json")) {
    CAPTURE(entry.dump());
    const Filter filter = entry.at(0) == "lanczos" ? Filter::lanczos : Filter::bicubic;
    const Image sized = resample(photo, entry.at(1), entry.at(2), filter);
    CHECK(gap(sized.rgb, base::read_file(folder + entry.at(3).get<std::string>(), kMaxBytes)) == 0);
    ++resampled;
  }
  CHECK(resampled == 16);
}

}  // namespace
}  // namespace nightreel::media::test
