// Files of torch.save written by tests, good and bad: a zip file of a pickle and storages.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace nightreel::test {

/// `bytes` little-endian bytes of a number.
inline std::string little(std::uint64_t value, unsigned bytes) {
  std::string text;
  for (unsigned i = 0; i < bytes; ++i) text += static_cast<char>(value >> 8U * i & 0xffU);
  return text;
}

/// What a test may get wrong about one entry of a zip file.
struct ZipPart {
  std::string name;
  std::string content;
  std::uint16_t method = 0;
  std::uint16_t flags = 0;
  std::int64_t claimed_bytes = -1;   // instead of the content's
  std::int64_t claimed_offset = -1;  // of the local header
  std::string local_name = {};       // instead of the name
};

/// A zip file, with the zip64 records that torch writes, or without.
inline std::string zip_of(const std::vector<ZipPart>& parts, bool zip64 = true) {
  std::string file;
  std::string directory;
  for (const ZipPart& part : parts) {
    const std::uint64_t at = part.claimed_offset < 0 ? file.size() : static_cast<std::uint64_t>(part.claimed_offset);
    const std::uint64_t size =
        part.claimed_bytes < 0 ? part.content.size() : static_cast<std::uint64_t>(part.claimed_bytes);
    const std::string& local = part.local_name.empty() ? part.name : part.local_name;
    file += "PK\x03\x04" + little(45, 2) + little(part.flags, 2) + little(part.method, 2) + little(0, 8) +
            little(part.content.size(), 4) + little(part.content.size(), 4) + little(local.size(), 2) + little(3, 2) +
            local + "pad" + part.content;
    const std::string extra = zip64 ? little(0x9999, 2) + little(1, 2) + "x" + little(1, 2) + little(24, 2) +
                                          little(size, 8) + little(size, 8) + little(at, 8)
                                    : "";
    const std::uint64_t in_64 = 0xffffffff;
    directory += "PK\x01\x02" + little(45, 2) + little(45, 2) + little(part.flags, 2) + little(part.method, 2) +
                 little(0, 8) + little(zip64 ? in_64 : size, 4) + little(zip64 ? in_64 : size, 4) +
                 little(part.name.size(), 2) + little(extra.size(), 2) + little(0, 2) + little(0, 8) +
                 little(zip64 ? in_64 : at, 4) + part.name + extra;
  }
  const std::uint64_t begin = file.size();
  const std::uint64_t count = parts.size();
  file += directory;
  if (zip64) {
    const std::uint64_t record = file.size();
    file += "PK\x06\x06" + little(44, 8) + little(45, 2) + little(45, 2) + little(0, 8) + little(count, 8) +
            little(count, 8) + little(directory.size(), 8) + little(begin, 8);
    file += "PK\x06\x07" + little(0, 4) + little(record, 8) + little(1, 4);
  }
  file += "PK\x05\x06" + little(0, 4) + little(count, 2) + little(count, 2) + little(directory.size(), 4) +
          little(begin, 4) + little(0, 2);
  return file;
}

/// Opcodes of a pickle, put together by hand.
namespace pickle {

inline const std::string kBegin = "\x80\x02";
inline const std::string kMark = "(";

inline std::string text(const std::string& value) {
  return "X" + little(value.size(), 4) + value;
}
inline std::string global(const std::string& module, const std::string& name) {
  return "c" + module + "\n" + name + "\n";
}
inline std::string number(std::int64_t value) {
  return "\x8a\x08" + little(static_cast<std::uint64_t>(value), 8);
}
inline std::string tuple(const std::vector<std::string>& values) {
  std::string made = kMark;
  for (const std::string& value : values) made += value;
  return made + "t";
}
inline std::string numbers(const std::vector<std::int64_t>& values) {
  std::vector<std::string> made;
  for (const std::int64_t value : values) made.push_back(number(value));
  return tuple(made);
}
inline std::string storage(const std::string& type, const std::string& key, std::int64_t count) {
  return tuple({text("storage"), global("torch", type), text(key), text("cpu"), number(count)}) + "Q";
}
inline std::string ordered_dict() {
  return global("collections", "OrderedDict") + ")R";
}
inline std::string tensor(const std::string& of, std::int64_t offset, const std::vector<std::int64_t>& shape,
                          const std::vector<std::int64_t>& strides) {
  return global("torch._utils", "_rebuild_tensor_v2") +
         tuple({of, number(offset), numbers(shape), numbers(strides), "\x89", ordered_dict()}) + "R";
}
/// A state dict of entries that are already opcodes.
inline std::string state_dict(const std::vector<std::pair<std::string, std::string>>& entries) {
  std::string made = kBegin + ordered_dict() + kMark;
  for (const auto& [name, value] : entries) made += text(name) + value;
  return made + "u.";
}

}  // namespace pickle

/// As torch.save writes it: `storages` are the entries under data/.
inline std::string pth_of(const std::string& program,
                          const std::vector<std::pair<std::string, std::string>>& storages) {
  std::vector<ZipPart> parts{{"archive/data.pkl", program}, {"archive/byteorder", "little"}};
  for (const auto& [key, content] : storages) parts.push_back({"archive/data/" + key, content});
  parts.push_back({"archive/version", "3\n"});
  return zip_of(parts);
}

/// Four float32, 1, 2, 3, 4: a storage's bytes, and what names it in a pickle.
inline const std::string kFour("\0\0\x80\x3f\0\0\0\x40\0\0\x40\x40\0\0\x80\x40", 16);
inline std::string four(const std::string& key = "0") {
  return pickle::storage("FloatStorage", key, 4);
}

/// Of that storage: w and the tied, t with strides {1, 2}, the parameter p from the third number on, e of fp8 in 16
/// bytes, none of no number, scalar.
inline std::string good_pth() {
  const std::string transposed = pickle::tensor(four(), 0, {2, 2}, {1, 2});
  const std::string parameter = pickle::global("torch._utils", "_rebuild_parameter") +
                                pickle::tuple({pickle::tensor(four(), 2, {2}, {1}), "\x88", pickle::ordered_dict()}) +
                                "R";
  const std::string third =
      pickle::global("torch._utils", "_rebuild_tensor_v3") +
      pickle::tuple({pickle::tuple({pickle::text("storage"), pickle::global("torch.storage", "UntypedStorage"),
                                    pickle::text("0"), pickle::text("cpu"), pickle::number(16)}) +
                         "Q",
                     pickle::number(0), pickle::numbers({16}), pickle::numbers({1}), "\x89", pickle::ordered_dict(),
                     pickle::global("torch", "float8_e4m3fn")}) +
      "R";
  const std::string with_metadata = pickle::kBegin + pickle::ordered_dict() + "(" + pickle::text("w") +
                                    pickle::tensor(four(), 0, {4}, {1}) + "q\x07" + pickle::text("tied") + "h\x07" +
                                    pickle::text("t") + transposed + pickle::text("p") + parameter + pickle::text("e") +
                                    third + pickle::text("none") + pickle::tensor(four(), 4, {0, 3}, {3, 1}) +
                                    pickle::text("scalar") + pickle::tensor(four(), 3, {}, {}) + "u}" +
                                    pickle::text("_metadata") + pickle::ordered_dict() + "sb.";
  return pth_of(with_metadata, {{"0", kFour}});
}

}  // namespace nightreel::test
