// docs/jobs.md and share/nightreel/job.schema.json say what the rows say. NIGHTREEL_WRITE_PAGES=1 writes both anew.
#include "nightreel/settings/pages.h"

#include <doctest/doctest.h>

#include <cstdlib>

#include "nightreel/base/file.h"
#include "nightreel/settings/row.h"

namespace nightreel::settings {
namespace {

const std::string kFirst = "| field | default | range | meaning |\n";

std::string path_of(const std::string& name) {
  return std::string(std::getenv("NIGHTREEL_SOURCE_DIR")) + "/" + name;
}

std::string read(const std::string& name) {
  return base::read_file(path_of(name), 1U << 20U);
}

void write_if_asked(const std::string& name, const std::string& text) {
  if (std::getenv("NIGHTREEL_WRITE_PAGES") != nullptr) base::replace_file(path_of(name), text);
}

TEST_CASE("the table in docs/jobs.md is the one that the rows make") {
  std::string page = read("docs/jobs.md");
  const auto begin = page.find(kFirst);
  REQUIRE(begin != std::string::npos);
  const auto end = page.find("\n\n", begin) + 1;
  write_if_asked("docs/jobs.md", page.substr(0, begin) + table() + page.substr(end));
  page = read("docs/jobs.md");
  CHECK(page.find("\n\n" + table() + "\n") != std::string::npos);
}

TEST_CASE("the schema is the one that the rows make, and each of them is in it") {
  const std::string text = schema().dump(2) + "\n";
  write_if_asked("share/nightreel/job.schema.json", text);
  CHECK(read("share/nightreel/job.schema.json") == text);
  for (const Row& row : rows()) CHECK(schema().at("properties").contains(std::string(row.name)));
  CHECK(schema().at("required") == base::Json::array({"prompt"}));
}

}  // namespace
}  // namespace nightreel::settings
