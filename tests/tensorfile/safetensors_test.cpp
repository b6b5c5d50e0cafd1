// Headers of safetensors files that are good, broken or hostile: each of the latter a line that names the file and what
// is wrong with it.
#include "nightreel/tensorfile/safetensors.h"

#include <doctest/doctest.h>

#include <filesystem>

#include "support/damage.h"
#include "support/error.h"
#include "support/temp_folder.h"
#include "weights/checkpoint_files.h"

using namespace nightreel;
using tensorfile::Header;
using tensorfile::StoredTensor;
using tensorfile::StoredType;
using test::contains;
using test::damage_everywhere;
using test::file_bytes;
using test::refusal;
using test::TempFolder;

namespace {

Header header_of(const std::string& path) {
  return tensorfile::safetensors_header(tensorfile::map_safetensors(path));
}

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

TEST_CASE("a header is read as it stands: types, shapes, empty and unaligned tensors, metadata") {
  const TempFolder folder;
  const std::string path = folder.write("good.safetensors", file_bytes(R"({"__metadata__":{"format":"pt","epoch":3},
    "f":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}, "none":{"dtype":"F32","shape":[3,0],"data_offsets":[8,8]},
    "b":{"dtype":"BF16","shape":[],"data_offsets":[8,10]}, "odd":{"dtype":"F32","shape":[1],"data_offsets":[10,14]},
    "ids":{"dtype":"I64","shape":[1],"data_offsets":[14,22]}})",
                                                                       std::string(22, '\0')));
  for (const Header& header : {header_of(path), tensorfile::read_safetensors_header(path)}) {
    CHECK(header.tensors.size() == 5);
    CHECK(header.metadata == std::map<std::string, std::string>{{"format", "pt"}});
    const StoredTensor& f = header.tensors.at("f");
    CHECK(f.type == StoredType::f32);
    CHECK(f.shape == std::vector<std::int64_t>{2, 1});
    CHECK(f.bytes == 8);
    CHECK(f.row_major());
    CHECK(header.tensors.at("none").bytes == 0);
    CHECK(header.tensors.at("odd").offset == f.offset + 10);
    CHECK(header.tensors.at("ids").type == StoredType::i64);
    CHECK(header.tensors.at("ids").offset + 8 == std::filesystem::file_size(path));
  }
}

TEST_CASE("every stored type has a name of its own, by which it is found, and a size") {
  for (const char* known : {"F32", "BF16", "F16", "F8_E4M3", "F64", "F8_E5M2", "I64", "I32", "I16", "I8", "U64", "U32",
                            "U16", "U8", "BOOL"}) {
    CAPTURE(known);
    const auto type = tensorfile::find_stored_type(known);
    REQUIRE(type);
    CHECK(tensorfile::name(*type) == known);
    CHECK(tensorfile::bytes_of(*type) >= 1);
  }
  CHECK(tensorfile::bytes_of(StoredType::bf16) == 2);
  CHECK(tensorfile::bytes_of(StoredType::f64) == 8);
  CHECK_FALSE(tensorfile::find_stored_type("F33"));
}

TEST_CASE("a malformed file is one line that names the file, the tensor and the reason") {
  const TempFolder folder;
  int number = 0;
  for (const BadFile& bad : bad_files()) {
    CAPTURE(number);
    CAPTURE(bad.why);
    const std::string path = folder.write("bad" + std::to_string(number++) + ".safetensors", bad.content);
    const std::string message = refusal([&] { header_of(path); });
    CAPTURE(message);
    CHECK(message.rfind(path + ": ", 0) == 0);
    CHECK(contains(message, bad.why));
    CHECK(contains(message, bad.tensor));
    CHECK(refusal([&] { tensorfile::read_safetensors_header(path); }) == message);
  }
  CHECK(number >= 20);
}

TEST_CASE("what is no file at all is refused too") {
  const TempFolder folder;
  for (const auto read : {header_of, tensorfile::read_safetensors_header}) {
    CHECK(contains(refusal([&] { read(folder.path() + "/none"); }), "No such file"));
    CHECK(contains(refusal([&] { read(folder.path()); }), "not a regular file"));
    CHECK(contains(refusal([&] { read("/dev/zero"); }), "not a regular file"));
  }
}

TEST_CASE("every prefix of a good file, and the file with any byte changed, is read or refused") {
  const TempFolder folder;
  const std::string good = file_bytes(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                                      R"("b":{"dtype":"F16","shape":[2,1],"data_offsets":[4,8]}})",
                                      std::string(8, '\1'));
  damage_everywhere(good, [&](const std::string& content) {
    const Header header = header_of(folder.write("fuzzed.safetensors", content));
    for (const auto& [name, stored] : header.tensors) CHECK(stored.offset + stored.bytes <= content.size());
  });
}
