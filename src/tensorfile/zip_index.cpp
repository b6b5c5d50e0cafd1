#include "tensorfile/zip_index.h"

#include <algorithm>
#include <cstring>

#include "nightreel/base/error.h"

namespace nightreel::tensorfile {

namespace {

constexpr std::uint32_t kEndSignature = 0x06054b50;
constexpr std::uint32_t kEnd64LocatorSignature = 0x07064b50;
constexpr std::uint32_t kEnd64Signature = 0x06064b50;
constexpr std::uint32_t kEntrySignature = 0x02014b50;
constexpr std::uint32_t kLocalSignature = 0x04034b50;
constexpr std::uint64_t kEndBytes = 22;
constexpr std::uint64_t kEnd64LocatorBytes = 20;
constexpr std::uint64_t kEnd64Bytes = 56;
constexpr std::uint64_t kEntryBytes = 46;
constexpr std::uint64_t kLocalBytes = 30;
constexpr std::uint64_t kMaxComment = 0xffff;
constexpr std::uint32_t kIn64 = 0xffffffff;  // the value stands in the zip64 record
constexpr std::uint64_t kMaxEntries = 1 << 20;

[[noreturn]] void refuse(const std::string& why) {
  throw base::Error(base::ErrorKind::model, why);
}

/// Little-endian numbers at places that are checked.
class Bytes {
 public:
  explicit Bytes(std::string_view all) : all_(all) {}

  std::string_view text(std::uint64_t at, std::uint64_t size) const {
    if (size > all_.size() || at > all_.size() - size) refuse("its zip directory leaves the file (is it truncated?)");
    return all_.substr(at, size);
  }
  template <class Number>
  Number number(std::uint64_t at) const {
    Number value = 0;
    std::memcpy(&value, text(at, sizeof value).data(), sizeof value);
    return value;
  }
  std::uint16_t u16(std::uint64_t at) const { return number<std::uint16_t>(at); }
  std::uint32_t u32(std::uint64_t at) const { return number<std::uint32_t>(at); }
  std::uint64_t u64(std::uint64_t at) const { return number<std::uint64_t>(at); }
  std::uint64_t size() const { return all_.size(); }

 private:
  std::string_view all_;
};

struct Directory {
  std::uint64_t offset;
  std::uint64_t bytes;
  std::uint64_t entries;
};

/// Of the record that ends a zip file; nothing but its own comment may come after it.
std::uint64_t find_end(const Bytes& file) {
  const std::uint64_t last = file.size() < kEndBytes ? 0 : file.size() - kEndBytes;
  const std::uint64_t first = last < kMaxComment ? 0 : last - kMaxComment;
  for (std::uint64_t at = last + 1; at-- > first && file.size() >= kEndBytes;) {
    if (file.u32(at) == kEndSignature && at + kEndBytes + file.u16(at + 20) == file.size()) return at;
  }
  refuse("has no zip directory at its end (is it truncated?)");
}

Directory find_directory(const Bytes& file) {
  const std::uint64_t end = find_end(file);
  Directory found{file.u32(end + 16), file.u32(end + 12), file.u16(end + 10)};
  std::uint64_t limit = end;
  if (end >= kEnd64LocatorBytes && file.u32(end - kEnd64LocatorBytes) == kEnd64LocatorSignature) {
    limit = file.u64(end - kEnd64LocatorBytes + 8);
    if (limit > end - kEnd64LocatorBytes || file.text(limit, kEnd64Bytes).empty() ||
        file.u32(limit) != kEnd64Signature) {
      refuse("its zip64 record is not where it should be");
    }
    found = {file.u64(limit + 48), file.u64(limit + 40), file.u64(limit + 32)};
  }
  if (found.bytes > limit || found.offset > limit - found.bytes) refuse("its zip directory lies behind its own end");
  if (found.entries > kMaxEntries || found.entries > found.bytes / kEntryBytes) {
    refuse("its zip directory is too small for " + std::to_string(found.entries) + " entries");
  }
  return found;
}

struct Sizes {
  std::uint64_t stored;
  std::uint64_t plain;
  std::uint64_t local;  // where the local header lies
};

/// Takes from the zip64 extra field what does not fit into 32 bits.
Sizes sizes_of(const Bytes& file, std::uint64_t at, std::uint64_t extra, std::uint64_t extra_end) {
  Sizes sizes{file.u32(at + 20), file.u32(at + 24), file.u32(at + 42)};
  if (std::max({sizes.stored, sizes.plain, sizes.local}) < kIn64) return sizes;
  while (extra + 4 <= extra_end) {
    const std::uint64_t id = file.u16(extra);
    const std::uint64_t field_end = extra + 4 + file.u16(extra + 2);
    extra += 4;
    if (field_end > extra_end) break;
    if (id == 1) {
      for (std::uint64_t* value : {&sizes.plain, &sizes.stored, &sizes.local}) {  // in this order, those that need it
        if (*value != kIn64) continue;
        if (extra + 8 > field_end) refuse("has a zip64 field that is too short");
        *value = file.u64(extra);
        extra += 8;
      }
      return sizes;
    }
    extra = field_end;
  }
  refuse("has an entry without its zip64 field");
}

ZipEntry locate(const Bytes& file, const std::string& name, const Sizes& sizes, std::uint64_t limit) {
  const auto misplaced = [&] { refuse("zip entry " + base::printable(name) + " is not where the directory says"); };
  if (sizes.local > limit || limit - sizes.local < kLocalBytes || file.u32(sizes.local) != kLocalSignature) misplaced();
  const std::uint64_t name_bytes = file.u16(sizes.local + 26);
  if (file.text(sizes.local + kLocalBytes, name_bytes) != name) misplaced();
  const std::uint64_t begin = sizes.local + kLocalBytes + name_bytes + file.u16(sizes.local + 28);
  if (begin > limit || sizes.plain > limit - begin) misplaced();
  return {begin, sizes.plain};
}

}  // namespace

std::map<std::string, ZipEntry> read_zip_index(std::string_view all) {
  const Bytes file(all);
  const Directory directory = find_directory(file);
  const std::uint64_t directory_end = directory.offset + directory.bytes;
  std::map<std::string, ZipEntry> entries;
  std::uint64_t at = directory.offset;
  for (std::uint64_t i = 0; i < directory.entries; ++i) {
    if (directory_end - at < kEntryBytes || file.u32(at) != kEntrySignature) refuse("its zip directory is broken");
    const std::uint64_t extra = at + kEntryBytes + file.u16(at + 28);
    const std::uint64_t extra_end = extra + file.u16(at + 30);
    const std::uint64_t next = extra_end + file.u16(at + 32);
    if (next > directory_end) refuse("its zip directory is broken");
    const std::string name(file.text(at + kEntryBytes, file.u16(at + 28)));
    if ((file.u16(at + 8) & 1U) != 0) refuse("zip entry " + base::printable(name) + " is encrypted");
    const Sizes sizes = sizes_of(file, at, extra, extra_end);
    if (file.u16(at + 10) != 0 || sizes.stored != sizes.plain) {
      refuse("zip entry " + base::printable(name) + " is compressed, which torch.save never does: save it anew");
    }
    if (!entries.emplace(name, locate(file, name, sizes, directory.offset)).second) {
      refuse("zip entry " + base::printable(name) + " is there twice");
    }
    at = next;
  }
  return entries;
}

}  // namespace nightreel::tensorfile
