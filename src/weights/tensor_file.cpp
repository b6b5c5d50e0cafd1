#include "nightreel/weights/tensor_file.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "nightreel/base/error.h"
#include "nightreel/tensorfile/formats.h"
#include "nightreel/tensorfile/safetensors.h"
#include "weights/scalar_type.h"

namespace nightreel::weights {

namespace {

using tensorfile::MappedFile;

struct NumberType {
  StoredType stored;
  at::ScalarType computed;
};

// The types whose tensors this program makes.
constexpr std::array<NumberType, 4> kNumberTypes{{{StoredType::f32, at::kFloat},
                                                  {StoredType::bf16, at::kBFloat16},
                                                  {StoredType::f16, at::kHalf},
                                                  {StoredType::f8_e4m3, at::kFloat8_e4m3fn}}};

[[noreturn]] void refuse(const std::string& path, const std::string& name, const std::string& why) {
  throw base::Error(base::ErrorKind::model, path + ": tensor " + base::printable(name) + ": " + why);
}

}  // namespace

std::optional<at::ScalarType> scalar_type(StoredType type) {
  const auto* found =
      std::find_if(kNumberTypes.begin(), kNumberTypes.end(), [&](const NumberType& t) { return t.stored == type; });
  if (found == kNumberTypes.end()) return std::nullopt;
  return found->computed;
}

TensorFile::TensorFile(std::shared_ptr<const MappedFile> mapping, tensorfile::Header header)
    : mapping_(std::move(mapping)), header_(std::move(header)) {}

TensorFile TensorFile::open(const std::string& path) {
  const tensorfile::Format* format = tensorfile::format_of(path);
  if (format == nullptr) tensorfile::refuse_file(path, "is in no format that tensors are read from");
  const auto mapping = std::make_shared<const MappedFile>(format->map(path));
  return {mapping, format->header(*mapping)};
}

TensorFile TensorFile::open_safetensors(const std::string& path) {
  const auto mapping = std::make_shared<const MappedFile>(tensorfile::map_safetensors(path));
  return {mapping, tensorfile::safetensors_header(*mapping)};
}

TensorFile TensorFile::open_resolved_safetensors(const std::string& path) {
  const auto mapping = std::make_shared<const MappedFile>(tensorfile::map_resolved_safetensors(path));
  return {mapping, tensorfile::safetensors_header(*mapping)};
}

const std::string& TensorFile::path() const {
  return mapping_->path();
}

std::string_view TensorFile::bytes(const StoredTensor& stored) const {
  if (!stored.row_major()) throw base::Error(base::ErrorKind::internal, path() + ": bytes of a tensor with gaps");
  return mapping_->bytes().substr(stored.offset, stored.bytes);
}

at::Tensor TensorFile::tensor(const std::string& name) const {
  const auto found = tensors().find(name);
  if (found == tensors().end()) refuse(path(), name, "missing");
  return tensor(name, found->second);
}

at::Tensor TensorFile::tensor(const std::string& name, const StoredTensor& stored) const {
  const std::optional<at::ScalarType> type = scalar_type(stored.type);
  if (!type) {
    refuse(path(), name,
           "dtype " + std::string(tensorfile::name(stored.type)) + " is not supported (F32, BF16, F16, F8_E4M3)");
  }
  const auto options = at::TensorOptions(*type);
  const auto shaped = [&](void* address, auto keep) {
    const auto deleter = [keep](void*) {};
    return stored.row_major() ? at::from_blob(address, stored.shape, deleter, options)
                              : at::from_blob(address, stored.shape, stored.strides, deleter, options);
  };
  if (stored.offset % tensorfile::bytes_of(stored.type) == 0) return shaped(mapping_->at(stored.offset), mapping_);
  // The format does not promise alignment.
  const auto copy = std::make_shared<std::vector<std::byte>>(std::max<std::uint64_t>(stored.bytes, 1));
  std::memcpy(copy->data(), mapping_->at(stored.offset), stored.bytes);
  return shaped(copy->data(), copy);
}

void TensorFile::release(const StoredTensor& stored) const {
  mapping_->release(stored.offset, stored.bytes);
}

}  // namespace nightreel::weights
