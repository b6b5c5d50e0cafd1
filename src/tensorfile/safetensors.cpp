#include "nightreel/tensorfile/safetensors.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

#include "nightreel/tensorfile/mapped_file.h"
#include "model/stored_dtype.h"
#include "nightreel/base/error.h"
#include "nightreel/base/json.h"
#include "nightreel/base/resolved_file.h"

namespace nightreel::model {

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
    const StoredDtype* known = dtype.is_string() ? find_dtype(dtype.get<std::string>()) : nullptr;
    if (known == nullptr) fail("unknown dtype " + base::printable(dtype.dump()));
    stored.dtype = known->name;
    stored.shape = shape(entry.value("shape", Json()));
    const auto [begin, end] = offsets(entry.value("data_offsets", Json()));
    if (begin > end || end > data_bytes) {
      fail("data_offsets " + std::to_string(begin) + " to " + std::to_string(end) + " leave the file's " +
           std::to_string(data_bytes) + " bytes of data (is the file truncated?)");
    }
    stored.offset = data_offset + begin;
    stored.bytes = end - begin;
    if (bytes_of(stored.shape, known->bytes) != stored.bytes) {
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

  std::uint64_t bytes_of(const std::vector<std::int64_t>& shape, std::uint64_t item_bytes) const {
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

}  // namespace

SafetensorsFile SafetensorsFile::open(const std::string& path) {
  return read(path, std::make_shared<const MappedFile>(path, kLeastSafetensors, kSafetensors));
}

SafetensorsFile SafetensorsFile::open_resolved(const std::string& path) {
  return read(path,
              std::make_shared<const MappedFile>(base::open_resolved(path), path, kLeastSafetensors, kSafetensors));
}

SafetensorsFile SafetensorsFile::read(const std::string& path, std::shared_ptr<const MappedFile> mapping) {
  SafetensorsFile file(path, std::move(mapping));
  const std::string_view all = file.mapping().bytes();
  std::uint64_t header_bytes = 0;  // little-endian, like every machine that LibTorch runs on
  std::memcpy(&header_bytes, all.data(), sizeof header_bytes);
  if (header_bytes > kMaxHeader || header_bytes > all.size() - 8) {
    refuse_file(path,
                "a header of " + std::to_string(header_bytes) + " bytes does not fit (truncated, or no safetensors)");
  }

  Json header;
  try {
    header = base::parse_json(all.substr(8, header_bytes));
  } catch (const Error& e) {
    refuse_file(path, std::string("header: ") + e.what());
  }
  if (!header.is_object()) refuse_file(path, "header: not a JSON object");
  const std::uint64_t data_offset = 8 + header_bytes;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") {
      for (const auto& [key, value] : entry.items()) {
        if (value.is_string()) file.metadata_.emplace(key, value.get<std::string>());
      }
      continue;
    }
    file.add(name, EntryReader(path, name).read(entry, data_offset, all.size() - data_offset));
  }
  check_layout(path, file.tensors(), data_offset, all.size());
  return file;
}

}  // namespace nightreel::model
