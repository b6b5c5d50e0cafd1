#include "nightreel/model/tensor_file.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "nightreel/tensorfile/mapped_file.h"
#include "model/stored_dtype.h"
#include "nightreel/base/error.h"

namespace nightreel::model {

namespace {

constexpr std::array<StoredDtype, 15> kDtypes{{{"F32", 4, at::kFloat},
                                               {"BF16", 2, at::kBFloat16},
                                               {"F16", 2, at::kHalf},
                                               {"F8_E4M3", 1, at::kFloat8_e4m3fn},
                                               {"F64", 8, std::nullopt},
                                               {"F8_E5M2", 1, std::nullopt},
                                               {"I64", 8, std::nullopt},
                                               {"I32", 4, std::nullopt},
                                               {"I16", 2, std::nullopt},
                                               {"I8", 1, std::nullopt},
                                               {"U64", 8, std::nullopt},
                                               {"U32", 4, std::nullopt},
                                               {"U16", 2, std::nullopt},
                                               {"U8", 1, std::nullopt},
                                               {"BOOL", 1, std::nullopt}}};

[[noreturn]] void refuse(const std::string& path, const std::string& name, const std::string& why) {
  throw base::Error(base::ErrorKind::model, path + ": tensor " + base::printable(name) + ": " + why);
}

}  // namespace

const StoredDtype* find_dtype(std::string_view name) {
  const auto* found =
      std::find_if(kDtypes.begin(), kDtypes.end(), [&](const StoredDtype& d) { return name == d.name; });
  return found == kDtypes.end() ? nullptr : found;
}

const StoredDtype& dtype_of(at::ScalarType type) {
  const auto* found =
      std::find_if(kDtypes.begin(), kDtypes.end(), [&](const StoredDtype& d) { return d.type == type; });
  if (found != kDtypes.end()) return *found;
  throw base::Error(base::ErrorKind::internal, "no stored dtype for " + std::string(c10::toString(type)));
}

TensorFile::TensorFile(std::string path, std::shared_ptr<const MappedFile> mapping)
    : path_(std::move(path)), mapping_(std::move(mapping)) {}

std::string_view TensorFile::bytes(const StoredTensor& stored) const {
  if (!stored.row_major()) throw base::Error(base::ErrorKind::internal, path_ + ": bytes of a tensor with gaps");
  return mapping_->bytes().substr(stored.offset, stored.bytes);
}

at::Tensor TensorFile::tensor(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) refuse(path_, name, "missing");
  return tensor(name, found->second);
}

at::Tensor TensorFile::tensor(const std::string& name, const StoredTensor& stored) const {
  const StoredDtype& dtype = *find_dtype(stored.dtype);
  if (!dtype.type) refuse(path_, name, "dtype " + stored.dtype + " is not supported (F32, BF16, F16, F8_E4M3)");
  const auto options = at::TensorOptions(*dtype.type);
  const auto shaped = [&](void* address, auto keep) {
    const auto deleter = [keep](void*) {};
    return stored.row_major() ? at::from_blob(address, stored.shape, deleter, options)
                              : at::from_blob(address, stored.shape, stored.strides, deleter, options);
  };
  if (stored.offset % dtype.bytes == 0) return shaped(mapping_->at(stored.offset), mapping_);
  // The format does not promise alignment.
  const auto copy = std::make_shared<std::vector<std::byte>>(std::max<std::uint64_t>(stored.bytes, 1));
  std::memcpy(copy->data(), mapping_->at(stored.offset), stored.bytes);
  return shaped(copy->data(), copy);
}

void TensorFile::release(const StoredTensor& stored) const {
  mapping_->release(stored.offset, stored.bytes);
}

}  // namespace nightreel::model
