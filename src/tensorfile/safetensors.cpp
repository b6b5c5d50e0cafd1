#include "nightreel/tensorfile/safetensors.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <limits>

#include "nightreel/base/error.h"
#include "nightreel/base/json.h"
#include "nightreel/base/resolved_file.h"

namespace nightreel::tensorfile {

namespace {

using base::Error;
using base::ErrorKind;
using base::Json;

constexpr std::uint64_t kMaxHeader = 100'000'000;  // the reference implementation's limit

constexpr std::uint64_t kLeastSafetensors = 8;  // bytes: the header's length
constexpr const char* kSafetensors = "safetensors file";

constexpr std::uint64_t kMaxSize = std::numeric_limits<std::int64_t>::max();

/// The entry of one tensor in the header. `why` of a refusal names the tensor.
class EntryReader {
 public:
  EntryReader(const std::string& path, const std::string& name) : path_(path), name_(name) {}

  StoredTensor read(const Json& entry, std::uint64_t data_offset, std::uint64_t data_bytes) const {
    if (!entry.is_object()) fail("its entry is not an object");
    for (const auto& [key, value] : entry.items()) {
      if (key != "dtype" && key != "shape" && key != "data_offsets") fail("unknown field " + base::printable(key));
    }
    StoredTensor stored;
    const Json dtype = entry.value("dtype", Json());
    const auto known = dtype.is_string() ? find_stored_type(dtype.get<std::string>()) : std::nullopt;
    if (!known) fail("unknown dtype " + base::printable(dtype.dump()));
    stored.type = *known;
    stored.shape = shape(entry.value("shape", Json()));
    const auto [begin, end] = offsets(entry.value("data_offsets", Json()));
    if (begin > end || end > data_bytes) {
      fail("lies outside the file; is it cut off? Its data_offsets " + std::to_string(begin) + " to " +
           std::to_string(end) + " leave the file's " + std::to_string(data_bytes) + " bytes of data (truncated)");
    }
    stored.offset = data_offset + begin;
    stored.bytes = end - begin;
    if (all_bytes(stored.shape, bytes_of(stored.type)) != stored.bytes) {
      fail("its shape and dtype do not make the " + std::to_string(stored.bytes) + " bytes of its data_offsets");
    }
    return stored;
  }

 private:
  [[noreturn]] void fail(const std::string& why) const {
    refuse_file(path_, "tensor " + base::printable(name_) + ": " + why);
  }

  std::vector<std::int64_t> shape(const Json& entry) const {
    if (!entry.is_array()) fail("shape is not a list");
    std::vector<std::int64_t> sizes;
    for (const Json& size : entry) {
      if (!size.is_number_unsigned() || size.get<std::uint64_t>() > kMaxSize) {
        fail("shape: " + base::printable(size.dump()) + " is not a size");
      }
      sizes.push_back(size.get<std::int64_t>());
    }
    return sizes;
  }

  std::array<std::uint64_t, 2> offsets(const Json& entry) const {
    const bool good =
        entry.is_array() && entry.size() == 2 && entry[0].is_number_unsigned() && entry[1].is_number_unsigned();
    if (!good) fail("data_offsets are not two whole numbers");
    return {entry[0].get<std::uint64_t>(), entry[1].get<std::uint64_t>()};
  }

  std::uint64_t all_bytes(const std::vector<std::int64_t>& shape, std::uint64_t item_bytes) const {
    std::uint64_t bytes = item_bytes;
    for (const std::int64_t size : shape) {
      if (__builtin_mul_overflow(bytes, static_cast<std::uint64_t>(size), &bytes)) fail("its shape overflows");
    }
    return bytes;
  }

  const std::string& path_;
  const std::string& name_;
};

/// Every byte of data must belong to exactly one tensor.
void check_layout(const std::string& path, const std::map<std::string, StoredTensor>& tensors, std::uint64_t begin,
                  std::uint64_t end) {
  using Entry = std::pair<const std::string, StoredTensor>;
  std::vector<const Entry*> in_order;
  for (const Entry& entry : tensors) in_order.push_back(&entry);
  std::sort(in_order.begin(), in_order.end(), [](const Entry* a, const Entry* b) {
    return std::pair(a->second.offset, a->second.bytes) < std::pair(b->second.offset, b->second.bytes);
  });
  for (const Entry* entry : in_order) {
    const char* trouble = entry->second.offset < begin   ? "overlaps another tensor"
                          : entry->second.offset > begin ? "leaves a hole before it"
                                                         : nullptr;
    if (trouble != nullptr) refuse_file(path, "tensor " + base::printable(entry->first) + ": its data " + trouble);
    begin += entry->second.bytes;
  }
  if (begin != end) refuse_file(path, std::to_string(end - begin) + " bytes at the end belong to no tensor");
}

/// The header's length, which begins a file of `file_bytes`: little-endian, like every machine that this runs on.
std::uint64_t header_length(std::string_view first, std::uint64_t file_bytes, const std::string& path) {
  std::uint64_t length = 0;
  std::memcpy(&length, first.data(), sizeof length);
  if (length <= kMaxHeader && length <= file_bytes - kLeastSafetensors) return length;
  refuse_file(path,
              "is no safetensors file, or cut off: a header of " + std::to_string(length) + " bytes does not fit");
}

Json header_json(std::string_view text, const std::string& path) {
  Json header;
  try {
    header = base::parse_json(text);
  } catch (const Error& e) {
    refuse_file(path, std::string("is no safetensors file: its header is no JSON: ") + e.what());
  }
  if (!header.is_object()) refuse_file(path, "is no safetensors file: its header is no JSON object");
  return header;
}

std::map<std::string, std::string> metadata_of(const Json& entry) {
  std::map<std::string, std::string> metadata;
  for (const auto& [key, value] : entry.items()) {
    if (value.is_string()) metadata.emplace(key, value.get<std::string>());
  }
  return metadata;
}

/// `text`: the header alone, of a file of `file_bytes`.
Header parse_header(std::string_view text, std::uint64_t file_bytes, const std::string& path) {
  Header header;
  const std::uint64_t data_offset = kLeastSafetensors + text.size();
  const Json json = header_json(text, path);
  for (const auto& [name, entry] : json.items()) {
    if (name == "__metadata__") {
      header.metadata = metadata_of(entry);
      continue;
    }
    header.tensors.emplace(name, EntryReader(path, name).read(entry, data_offset, file_bytes - data_offset));
  }
  check_layout(path, header.tensors, data_offset, file_bytes);
  return header;
}

/// `count` bytes of `file` from `at` on.
std::string bytes_at(const base::Fd& file, std::uint64_t at, std::uint64_t count, const std::string& path) {
  std::string bytes(count, '\0');
  std::uint64_t done = 0;
  while (done < count) {
    const ssize_t got = ::pread(file.get(), bytes.data() + done, count - done, static_cast<off_t>(at + done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) refuse_file(path, "cannot be read");
    done += static_cast<std::uint64_t>(got);
  }
  return bytes;
}

}  // namespace

MappedFile map_safetensors(const std::string& path) {
  return MappedFile(path, kLeastSafetensors, kSafetensors);
}

MappedFile map_resolved_safetensors(const std::string& path) {
  return MappedFile(base::open_resolved(path), path, kLeastSafetensors, kSafetensors);
}

Header safetensors_header(const MappedFile& file) {
  const std::string_view all = file.bytes();
  const std::uint64_t length = header_length(all, all.size(), file.path());
  return parse_header(all.substr(kLeastSafetensors, length), all.size(), file.path());
}

Header read_safetensors_header(const std::string& path) {
  const OpenedFile file = open_regular(path, kLeastSafetensors, kSafetensors);
  const std::string first = bytes_at(file.fd, 0, kLeastSafetensors, path);
  const std::uint64_t length = header_length(first, file.bytes, path);
  return parse_header(bytes_at(file.fd, kLeastSafetensors, length, path), file.bytes, path);
}

}  // namespace nightreel::tensorfile
