// Files of torch.save that are broken or hostile: each one a line that names the file and what is wrong with it, and
// nothing of any is executed.
#include "nightreel/tensorfile/pth.h"

#include <doctest/doctest.h>

#include "support/damage.h"
#include "support/error.h"
#include "support/temp_folder.h"
#include "tensorfile/pth_files.h"

using namespace nightreel;
using tensorfile::Header;
using tensorfile::StoredTensor;
using tensorfile::StoredType;
using test::contains;
using test::damage_everywhere;
using test::four;
using test::kFour;
using test::pth_of;
using test::refusal;
using test::TempFolder;
using test::zip_of;
using test::ZipPart;
namespace pickle = test::pickle;

namespace {

/// A file of one tensor `w` that the opcodes `value` make.
std::string file_of_one(const std::string& value) {
  return pth_of(pickle::state_dict({{"w", value}}), {{"0", kFour}});
}

Header pth_header_of(const std::string& path) {
  return tensorfile::pth_header(tensorfile::map_pth(path));
}

struct BadPth {
  const char* why;
  std::string content;
};

std::vector<BadPth> bad_zips() {
  const std::string program = pickle::state_dict({{"w", pickle::tensor(four(), 0, {4}, {1})}});
  const ZipPart good{"archive/data.pkl", program};
  const ZipPart data{"archive/data/0", kFour};
  const auto with = [&](ZipPart part, auto change) {
    change(part);
    return part;
  };
  const std::string whole = zip_of({good, data});
  std::string far_record = whole;
  far_record.replace(whole.size() - 22 - 12, 8, test::little(1ULL << 60U, 8));
  std::string many = whole;
  many.replace(whole.size() - 22 - 20 - 56 + 32, 8, test::little(1ULL << 40U, 8));
  std::string far_directory = whole;
  far_directory.replace(whole.size() - 22 - 20 - 56 + 48, 8, test::little(~0ULL - 3, 8));
  return {
      {"too short", ""},
      {"does not begin as a zip file", std::string(40, 'x')},
      {"Git LFS", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 8\n"},
      {"before PyTorch 1.6", std::string("\x80\x02\x8a\nl\xfc\x9c\x46\xf9 j\xa8P\x19.", 15) + std::string(40, 'x')},
      {"before PyTorch 1.6", std::string(257, 'x') + "ustar" + std::string(40, 'x')},
      {"no zip directory", whole.substr(0, whole.size() - 1)},
      {"no zip directory", whole + "x"},
      {"zip64 record", far_record},
      {"too small for", many},
      {"behind its own end", far_directory},
      {"no data.pkl", zip_of({data})},
      {"two pickles", zip_of({good, {"other/data.pkl", program}, data})},
      {"TorchScript", zip_of({good, {"archive/constants.pkl", "x"}, data})},
      {"not little-endian", zip_of({good, data, {"archive/byteorder", "big"}})},
      {"compressed", zip_of({with(good, [](ZipPart& p) { p.method = 8; }), data})},
      {"encrypted", zip_of({with(good, [](ZipPart& p) { p.flags = 1; }), data})},
      {"is there twice", zip_of({good, data, data})},
      {"not where the directory", zip_of({good, with(data, [](ZipPart& p) { p.claimed_offset = 1; })})},
      {"not where the directory", zip_of({good, with(data, [](ZipPart& p) { p.claimed_offset = 1LL << 62U; })})},
      {"not where the directory", zip_of({good, with(data, [](ZipPart& p) { p.local_name = "archive/data/9"; })})},
      {"not where the directory", zip_of({good, with(data, [](ZipPart& p) { p.claimed_bytes = 1LL << 62U; })})},
      {"its storage has 12 bytes", zip_of({good, with(data, [](ZipPart& p) { p.claimed_bytes = 12; })})},
      {"data/0, is missing", zip_of({good})},
  };
}

std::vector<BadPth> bad_pickles() {
  const auto program = [](const std::string& opcodes) { return pth_of(opcodes, {{"0", kFour}}); };
  const auto shaped = [](std::int64_t offset, std::vector<std::int64_t> shape, std::vector<std::int64_t> strides) {
    return file_of_one(pickle::tensor(four(), offset, shape, strides));
  };
  const std::string b = pickle::kBegin;
  const std::string call = pickle::global("torch._utils", "_rebuild_tensor_v2");
  const auto named = [&](const std::string& module, const std::string& name) {
    return program(b + pickle::global(module, name) + pickle::text("touch /tmp/owned") + "\x85R.");
  };
  return {
      {"no pickle of protocol 2", program("")},
      {"no pickle of protocol 2", program("\x80\x04.")},
      {"ends too early", program(b)},
      {"ends too early", program(b + "X\xff\xff\xff\xff" + "a")},
      {"ends too early", program(b + "cos\nsystem")},
      {"names os system", named("os", "system")},
      {"names posix system", named("posix", "system")},
      {"names builtins eval", named("builtins", "eval")},
      {"names torch load", named("torch", "load")},
      {"names \\x1b[31m evil", named("\x1b[31m", "evil")},
      {"the opcode 0x93", program(b + pickle::text("os") + pickle::text("system") + "\x93.")},
      {"the opcode 0x81", program(b + pickle::global("collections", "OrderedDict") + ")\x81.")},
      {"the opcode 0x69", program(b + "(ios\nsystem\n.")},
      {"the opcode 0x6f", program(b + "(" + pickle::global("collections", "OrderedDict") + "o.")},
      {"the opcode 0x32", program(b + "}2.")},
      {"the opcode 0x82", program(b + "\x82\x01.")},
      {"takes more from its stack", program(b + "R.")},
      {"takes more from its stack", program(b + ".")},
      {"takes more from its stack", program(b + "}(s.")},  // not below the mark
      {"no mark", program(b + "}u.")},
      {"without a value", program(b + "}(" + pickle::text("w") + "u.")},
      {"leaves something", program(b + "}}.")},
      {"leaves something", program(b + "(}.")},
      {"never stored", program(b + "h\x05.")},
      {"more than 64 bits", program(b + "\x8a\x09" + std::string(9, '\1') + ".")},
      {"a list where a state dict belongs", program(b + "].")},
      {"a list where a dict belongs", program(b + "](" + pickle::text("a") + pickle::text("b") + "u.")},
      {"something else than a tensor", program(b + "}" + pickle::text("w") + "Ns.")},
      {"something else than a tensor", program(b + "}q\x01" + pickle::text("w") + "h\x01s.")},  // itself
      {"a number where a tensor's name", program(b + "}K\x01Ns.")},
      {"not plain text", program(b + "}" + pickle::text("a\nb") + pickle::tensor(four(), 0, {4}, {1}) + "s.")},
      {"not plain text", program(b + "}" + pickle::text("") + pickle::tensor(four(), 0, {4}, {1}) + "s.")},
      {"w twice", pth_of(pickle::state_dict(
                             {{"w", pickle::tensor(four(), 0, {4}, {1})}, {"w", pickle::tensor(four(), 0, {4}, {1})}}),
                         {{"0", kFour}})},
      {"no storage's", program(b + pickle::tuple({pickle::text("module")}) + "Q.")},
      {"no file name", file_of_one(pickle::tensor(four("../../etc/passwd"), 0, {4}, {1}))},
      {"a storage of -4", file_of_one(pickle::tensor(pickle::storage("FloatStorage", "0", -4), 0, {4}, {1}))},
      {"a storage of 4611686018427387904",
       file_of_one(pickle::tensor(pickle::storage("FloatStorage", "0", 1LL << 62U), 0, {4}, {1}))},
      {"names torch QInt8Storage", file_of_one(pickle::tensor(pickle::storage("QInt8Storage", "0", 4), 0, {4}, {1}))},
      {"_rebuild_tensor_v2 where a storage's class",
       file_of_one(
           pickle::tuple({pickle::text("storage"), call, pickle::text("0"), pickle::text("cpu"), pickle::number(4)}) +
           "Q")},
      {"calls torch FloatStorage", program(b + pickle::global("torch", "FloatStorage") + ")R.")},
      {"an OrderedDict of something", program(b + pickle::global("collections", "OrderedDict") + "]\x85R.")},
      {"wrong argument count", file_of_one(call + pickle::tuple({four()}) + "R")},
      {"None where a storage belongs",
       file_of_one(call + pickle::tuple({"N", "K\x01", pickle::numbers({4}), pickle::numbers({1}), "N", "N"}) + "R")},
      {"as many strides", shaped(0, {4}, {1, 1})},
      {"9 dimensions", shaped(0, {1, 1, 1, 1, 1, 1, 1, 1, 4}, {1, 1, 1, 1, 1, 1, 1, 1, 1})},
      {"tensor w: its shape or strides are negative", shaped(0, {-4}, {1})},
      {"tensor w: its shape or strides are negative", shaped(0, {4}, {-1})},
      {"tensor w: its shape or strides are negative", shaped(0, {1LL << 40U, 1LL << 40U}, {1, 1})},
      {"tensor w: its shape or strides are negative", shaped(0, {2, 3}, {1, 1LL << 62U})},
      {"tensor w: its offset, shape and strides leave", shaped(-1, {4}, {1})},
      {"tensor w: its offset, shape and strides leave", shaped(1, {4}, {1})},
      {"tensor w: its offset, shape and strides leave", shaped(0, {5}, {1})},
      {"tensor w: its offset, shape and strides leave", shaped(0, {4}, {2})},
      {"tensor w: its offset, shape and strides leave", shaped(0, {1LL << 40U}, {0})},  // one number, a bomb
      {"tensor w: its storage has 16 bytes",
       file_of_one(pickle::tensor(pickle::storage("FloatStorage", "0", 8), 0, {4}, {1}))},
      {"tensor w: its storage has 16 bytes",
       file_of_one(pickle::tensor(pickle::storage("HalfStorage", "0", 4), 0, {4}, {1}))},
  };
}

void check_all(const std::vector<BadPth>& files) {
  const TempFolder folder;
  int number = 0;
  for (const BadPth& bad : files) {
    CAPTURE(number);
    CAPTURE(bad.why);
    const std::string path = folder.write("bad" + std::to_string(number++) + ".pth", bad.content);
    const std::string message = refusal([&] { pth_header_of(path); });
    CAPTURE(message);
    CHECK(message.rfind(path + ": ", 0) == 0);
    CHECK(contains(message, bad.why));
  }
}

}  // namespace

TEST_CASE("a file of torch.save has a header: shared storages, offsets, strides, parameters, tied tensors") {
  const TempFolder folder;
  const std::string path = folder.write("good.pth", test::good_pth());
  const Header header = pth_header_of(path);
  CHECK(header.tensors.size() == 7);
  const StoredTensor& w = header.tensors.at("w");
  CHECK(w.type == StoredType::f32);
  CHECK(w.bytes == 16);
  CHECK(w.row_major());
  CHECK(header.tensors.at("tied").offset == w.offset);
  CHECK(header.tensors.at("t").strides == std::vector<std::int64_t>{1, 2});
  CHECK(header.tensors.at("p").offset == w.offset + 8);
  CHECK(header.tensors.at("e").type == StoredType::f8_e4m3);
  CHECK(header.tensors.at("none").bytes == 0);
  CHECK(header.tensors.at("scalar").shape.empty());
}

TEST_CASE("zip files with and without zip64 records are read") {
  const TempFolder folder;
  const std::string program = pickle::state_dict({{"w", pickle::tensor(four(), 0, {4}, {1})}});
  for (const bool zip64 : {true, false}) {
    const std::string path = folder.write("file.pth", zip_of({{"a/data.pkl", program}, {"a/data/0", kFour}}, zip64));
    CHECK(pth_header_of(path).tensors.at("w").bytes == 16);
  }
}

TEST_CASE("a zip file that is broken or lies is one line that names the file and the reason") {
  check_all(bad_zips());
}

TEST_CASE("a pickle that does more than a state dict needs, or lies about its tensors, is refused by name") {
  check_all(bad_pickles());
}

TEST_CASE("the error about an old file says the command that writes it anew") {
  const TempFolder folder;
  const std::string path =
      folder.write("old.pth", std::string("\x80\x02\x8a\nl\xfc\x9c\x46\xf9 j\xa8P\x19.", 15) + std::string(40, 'x'));
  const std::string message = refusal([&] { pth_header_of(path); });
  CHECK(contains(message, "torch.save(torch.load("));
  CHECK(contains(message, "weights_only=True"));
}

TEST_CASE("bombs cost no memory: deep nesting, lists in themselves, doubled tuples, a huge memo key, many tensors") {
  const TempFolder folder;
  const auto open = [&](const std::string& opcodes) {
    const std::string path = folder.write("bomb.pth", pth_of(pickle::kBegin + opcodes, {{"0", kFour}}));
    return refusal([&] { pth_header_of(path); });
  };
  std::string doubled = ")q\1";
  for (int i = 0; i < 64; ++i) doubled += "h\1h\1\x86q\1";  // 2^64 leaves, were they ever counted
  CHECK(contains(open(doubled + "."), "leaves something"));
  std::string nested;
  for (int i = 0; i < 1'000'000; ++i) nested += "]";
  for (int i = 1; i < 1'000'000; ++i) nested += "a";
  CHECK(contains(open(nested + "."), "a list where a state dict"));
  CHECK(contains(open("]q\1h\1ah\1a."), "a list where a state dict"));
  CHECK(contains(open("]r\xff\xff\xff\xff."), "a list where a state dict"));
  CHECK(contains(open(std::string(4'000'000, '(') + "."), "takes more from its stack"));
  CHECK(contains(open(std::string(9U << 20U, '(')), "a state dict's has under"));
  std::string many = "}" + pickle::global("torch._utils", "_rebuild_tensor_v2") + "q\1" +
                     pickle::tuple({four(), pickle::number(0), pickle::numbers({4}), pickle::numbers({1}), "N", "N"}) +
                     "q\2";
  for (int i = 0; i < 100'000; ++i) many += "h\1h\2R";
  CHECK(contains(open(many + "."), "more than 65536 tensors"));
}

TEST_CASE("every prefix of a good file, and the file with any byte changed, is read or refused") {
  const TempFolder folder;
  const std::string good = file_of_one(pickle::tensor(four(), 0, {2, 2}, {1, 2}));
  damage_everywhere(good, [&](const std::string& content) {
    const Header header = pth_header_of(folder.write("fuzzed.pth", content));
    for (const auto& [name, stored] : header.tensors) CHECK(stored.offset + stored.bytes <= content.size());
  });
}
