// Pictures are looked at before anything starts.
#include "nightreel/media/input_files.h"

#include <doctest/doctest.h>

#include <cstdlib>

#include "nightreel/base/file.h"
#include "support/error.h"
#include "support/temp_folder.h"

namespace nightreel::media {
namespace {

job::Job job_with(const std::string& origin, const std::string& image, const std::string& last_image = {}) {
  job::Job job;
  job.origin = origin;
  job.image = image;
  job.last_image = last_image;
  return job;
}

TEST_CASE("every job whose picture cannot be read is told, by line, field and file") {
  const nightreel::test::TempFolder folder;
  const std::string good = std::string(std::getenv("NIGHTREEL_SOURCE_DIR")) + "/tests/media/images/small.png";
  const std::string bytes = base::read_file(good, 1U << 20U);
  const std::string cut = folder.write("cut.png", bytes.substr(0, bytes.size() / 2));
  const std::string gif = folder.write("x.png", "GIF89a");
  check_input_files({});
  check_input_files({job_with("a:1", good, good), job_with("a:2", "")});
  const auto thrown = nightreel::test::thrown_by([&] {
    check_input_files({job_with("a:1", good), job_with("a:2", cut), job_with("a:3", good, gif), job_with("a:4", cut)});
  });
  const std::string& message = thrown.message;
  CAPTURE(message);
  CHECK(thrown.kind == base::ErrorKind::usage);
  CHECK(message.rfind("a:2: image: " + cut + ": is damaged or cut off: ", 0) == 0);
  CHECK(message.find("\na:3: last_image: " + gif + ": is no PNG, JPEG or WebP picture: it is a GIF picture") !=
        std::string::npos);
  CHECK(message.find("\na:4: image: " + cut) != std::string::npos);
}

}  // namespace
}  // namespace nightreel::media
