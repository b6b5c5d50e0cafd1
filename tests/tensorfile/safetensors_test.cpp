// Checkpoints that are broken or hostile: each one a line that names the file and what is wrong with it.
#include "nightreel/tensorfile/safetensors.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <filesystem>

#include "model/checkpoint_files.h"
#include "support/damage.h"
#include "support/error.h"
#include "support/temp_folder.h"

using namespace nightreel;
using model::SafetensorsFile;
using test::contains;
using test::damage_everywhere;
using test::file_bytes;
using test::refusal;
using test::TempFolder;

namespace {

struct BadFile {
  const char* why;     // what the message must say
  const char* tensor;  // that it must name; empty: none
  std::string content;
};

std::vector<BadFile> bad_files() {
  const std::string eight(8, '\1');
  const auto entry = [](const std::string& dtype, const std::string& shape, const std::string& offsets) {
    return R"({"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
  };
  const auto one = [&](const std::string& value) { return R"({"w":)" + value + "}"; };
  const auto two = [&](const std::string& a, const std::string& b) { return R"({"a":)" + a + R"(,"b":)" + b + "}"; };
  const std::string good = file_bytes(one(entry("F32", "[2]", "[0,8]")), eight);
  const std::string deep = std::string(200, '[') + std::string(200, ']');
  return {
      {"too short", "", ""},
      {"too short", "", "1234567"},
      {"does not fit", "", std::string(8, '\0').replace(0, 1, "\x09") + "{}"},
      {"does not fit", "", std::string(8, '\xff') + "{}"},
      {"does not fit", "", std::string("\x01\xe1\xf5\x05\0\0\0\0", 8) + "{}"},
      {"Git LFS", "", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 8\n"},
      {"header", "", file_bytes("", eight)},
      {"header", "", file_bytes("{\"w\":", "")},
      {"header", "", file_bytes("{} {}", "")},
      {"header", "", file_bytes("[1]", "")},
      {"header", "", file_bytes(one(deep), "")},
      {"header", "", file_bytes("{\"\xff\xfe\":" + entry("F32", "[2]", "[0,8]") + "}", eight)},
      {"twice", "w",
       file_bytes("{\"w\":" + entry("F32", "[2]", "[0,8]") + ",\"w\":" + entry("F32", "[2]", "[0,8]") + "}", eight)},
      {"truncated", "w", good.substr(0, good.size() - 1)},
      {"belong to no tensor", "", good + "x"},
      {"belong to no tensor", "", file_bytes("{}", eight)},
      {"not an object", "w", file_bytes(one("7"), eight)},
      {"unknown field extra", "w",
       file_bytes(one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8],"extra":1})"), eight)},
      {"unknown dtype", "w", file_bytes(one(entry("F33", "[2]", "[0,8]")), eight)},
      {"unknown dtype", "w", file_bytes(one(R"({"dtype":null,"shape":[2],"data_offsets":[0,8]})"), eight)},
      {"shape is not a list", "w", file_bytes(one(entry("F32", "2", "[0,8]")), eight)},
      {"is not a size", "w", file_bytes(one(entry("F32", "[-2]", "[0,8]")), eight)},
      {"is not a size", "w", file_bytes(one(entry("F32", "[2.0]", "[0,8]")), eight)},
      {"is not a size", "w", file_bytes(one(entry("F32", "[18446744073709551615,0]", "[0,0]")), "")},
      {"overflows", "w", file_bytes(one(entry("F32", "[4611686018427387904,4]", "[0,8]")), eight)},
      {"overflows", "w", file_bytes(one(entry("F32", "[3037000500,3037000500,4]", "[0,8]")), eight)},
      {"do not make", "w", file_bytes(one(entry("F32", "[3]", "[0,8]")), eight)},
      {"do not make", "w", file_bytes(one(entry("BF16", "[2]", "[0,8]")), eight)},
      {"not two whole numbers", "w", file_bytes(one(entry("F32", "[2]", "[0]")), eight)},
      {"not two whole numbers", "w", file_bytes(one(entry("F32", "[2]", "[-8,0]")), eight)},
      {"leave the file's", "w", file_bytes(one(entry("F32", "[2]", "[8,0]")), eight)},
      {"leave the file's", "w", file_bytes(one(entry("F32", "[2]", "[8,16]")), eight)},
      {"leave the file's", "w",
       file_bytes(one(entry("F32", "[2]", "[18446744073709551608,18446744073709551615]")), eight)},
      {"overlaps", "b", file_bytes(two(entry("F32", "[2]", "[0,8]"), entry("F32", "[1]", "[4,8]")), eight)},
      {"overlaps", "", file_bytes(two(entry("F32", "[2]", "[0,8]"), entry("F32", "[2]", "[0,8]")), eight)},
      {"hole", "b", file_bytes(two(entry("F16", "[1]", "[0,2]"), entry("F32", "[1]", "[4,8]")), eight)},
  };
}

}  // namespace

TEST_CASE("a file is read as it stands: dtypes, shapes, empty and unaligned tensors, metadata") {
  const TempFolder folder;
  const std::string path =
      folder.write("good.safetensors",
                   file_bytes(R"({"__metadata__":{"format":"pt"},
    "f":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}, "none":{"dtype":"F32","shape":[3,0],"data_offsets":[8,8]},
    "b":{"dtype":"BF16","shape":[],"data_offsets":[8,10]}, "odd":{"dtype":"F32","shape":[1],"data_offsets":[10,14]},
    "ids":{"dtype":"I64","shape":[1],"data_offsets":[14,22]}})",
                              std::string("\0\0\x80\x3f\0\0\0\x40\x40\x40\0\0\x40\x40", 14) + std::string(8, '\0')));
  at::Tensor kept;
  {
    const SafetensorsFile file = SafetensorsFile::open(path);
    CHECK(file.tensors().size() == 5);
    CHECK(at::equal(file.tensor("f"), at::tensor({1.0F, 2.0F}).view({2, 1})));
    CHECK(file.tensor("none").numel() == 0);
    CHECK(file.tensor("b").item<float>() == 3.0F);
    CHECK(file.tensor("odd").item<float>() == 3.0F);
    CHECK(file.bytes(file.tensors().at("b")) == "\x40\x40");
    CHECK(contains(refusal([&] { file.tensor("ids"); }), "tensor ids: dtype I64 is not supported"));
    CHECK(contains(refusal([&] { file.tensor("nobody"); }), "tensor nobody: missing"));
    kept = file.tensor("f");
  }
  CHECK(kept.sum().item<float>() == 3.0F);  // the mapping lives as long as its tensors
}

TEST_CASE("a malformed file is one line that names the file, the tensor and the reason") {
  const TempFolder folder;
  int number = 0;
  for (const BadFile& bad : bad_files()) {
    CAPTURE(number);
    CAPTURE(bad.why);
    const std::string path = folder.write("bad" + std::to_string(number++) + ".safetensors", bad.content);
    const std::string message = refusal([&] { SafetensorsFile::open(path); });
    CAPTURE(message);
    CHECK(message.rfind(path + ": ", 0) == 0);
    CHECK(contains(message, bad.why));
    CHECK(contains(message, bad.tensor));
  }
  CHECK(number >= 20);
}

TEST_CASE("what is no file at all is refused too") {
  const TempFolder folder;
  CHECK(contains(refusal([&] { SafetensorsFile::open(folder.path() + "/none"); }), "No such file"));
  CHECK(contains(refusal([&] { SafetensorsFile::open(folder.path()); }), "not a regular file"));
  CHECK(contains(refusal([&] { SafetensorsFile::open("/dev/zero"); }), "not a regular file"));
}

TEST_CASE("every prefix of a good file, and the file with any byte changed, is read or refused") {
  const TempFolder folder;
  const std::string good = file_bytes(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                                      R"("b":{"dtype":"F16","shape":[2,1],"data_offsets":[4,8]}})",
                                      std::string(8, '\1'));
  damage_everywhere(good, [&](const std::string& content) {
    const SafetensorsFile file = SafetensorsFile::open(folder.write("fuzzed.safetensors", content));
    for (const auto& [name, stored] : file.tensors()) {
      if (stored.dtype == "F32" || stored.dtype == "F16") CHECK(file.tensor(name).to(at::kFloat).defined());
    }
  });
}
