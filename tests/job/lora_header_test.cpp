// Whether a file can be a LoRA file at all.
#include "nightreel/job/lora_header.h"

#include <doctest/doctest.h>

#include "support/error.h"
#include "support/temp_folder.h"

using namespace nightreel;
using test::contains;

namespace {

/// A safetensors file: the header's length, the header, so many bytes behind it.
std::string file_of(const std::string& header, std::size_t bytes) {
  std::string length(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) length[i] = static_cast<char>(header.size() >> (8 * i) & 0xffU);
  return length + header + std::string(bytes, 'x');
}

}  // namespace

TEST_CASE("a LoRA file's header is whole, and its tensors lie within the file") {
  const test::TempFolder folder;
  const std::string good = R"({"__metadata__":{"a":"b"},"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
  CHECK_NOTHROW(job::check_lora_header(folder.write("good", file_of(good, 4))));
  CHECK_NOTHROW(job::check_lora_header(folder.path()));
  const std::vector<std::pair<std::string, std::string>> bad{
      {"", "too short to be a safetensors file (0 bytes)"},
      {"1234567", "too short"},
      {"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"},
      {"<!DOCTYPE html><html></html>", "is no safetensors file, or cut off"},
      {file_of(good, 3), "t: lies outside the file; is it cut off?"},
      {file_of(good, 4).substr(0, 40), "cut off"},
      {file_of("[1]", 0), "is no JSON object"},
      {file_of("{\"t\":", 0), "is no JSON: "},
      {file_of(R"({"t":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", 4), "t: lies outside"},
      {file_of(R"({"t":{"dtype":"F32","shape":[1],"data_offsets":[-1,0]}})", 4), "t: data_offsets are not"},
      {file_of(R"({"t":{"dtype":"F32","shape":[1],"data_offsets":"0"}})", 4), "t: data_offsets are not"},
      {file_of(R"({"\u001b[31m":7})", 4), "\\x1b[31m: its entry is not an object"}};
  for (const auto& [content, part] : bad) {
    const std::string path = folder.write("bad", content);
    const std::string message = test::error_of(base::ErrorKind::job, [&] { job::check_lora_header(path); });
    CHECK_MESSAGE(contains(message, part), message);
    CHECK(message.rfind(path + ": ", 0) == 0);
  }
}
