#include "weights/safetensors_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "nightreel/base/error.h"

namespace nightreel::weights {

namespace {

using base::Error;
using base::ErrorKind;

constexpr std::uint64_t kAlign = 8;

/// The length, and the header padded with spaces to a multiple of 8.
std::string framed(std::string header) {
  header.resize((header.size() + kAlign - 1) / kAlign * kAlign, ' ');
  std::string length;
  for (unsigned shift = 0; shift < 64; shift += 8) length += static_cast<char>(header.size() >> shift & 0xffU);
  return length + header;
}

}  // namespace

std::uint64_t NewTensor::bytes() const {
  std::uint64_t bytes = tensorfile::bytes_of(type);
  for (const std::int64_t size : shape) bytes *= static_cast<std::uint64_t>(size);
  return bytes;
}

SafetensorsWriter::SafetensorsWriter(const std::string& path, std::vector<NewTensor> tensors)
    : path_(path), file_(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644)) {
  if (!file_) base::throw_errno("cannot create", path);
  std::sort(tensors.begin(), tensors.end(), [](const NewTensor& a, const NewTensor& b) {
    return std::pair(tensorfile::bytes_of(b.type), a.name) < std::pair(tensorfile::bytes_of(a.type), b.name);
  });
  nlohmann::ordered_json header{{"__metadata__", {{"format", "pt"}}}};  // as save_pretrained writes and wants it
  for (const NewTensor& tensor : tensors) {
    const std::uint64_t end = missing_ + tensor.bytes();
    header[tensor.name] = {
        {"dtype", tensorfile::name(tensor.type)}, {"shape", tensor.shape}, {"data_offsets", {missing_, end}}};
    places_[tensor.name] = {missing_, tensor.bytes()};
    missing_ = end;
  }
  const std::string text = framed(header.dump());
  for (auto& [name, place] : places_) place.offset += text.size();
  put(0, text.data(), text.size());
}

void SafetensorsWriter::write(const std::string& name, std::uint64_t at, const void* data, std::uint64_t bytes) {
  const Place& place = places_.at(name);
  if (at > place.bytes || bytes > place.bytes - at || bytes > missing_) {
    throw Error(ErrorKind::internal, path_ + ": tensor " + name + ": more bytes than its shape has");
  }
  put(place.offset + at, data, bytes);
  missing_ -= bytes;
}

void SafetensorsWriter::put(std::uint64_t at, const void* data, std::uint64_t bytes) {
  const char* from = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t put = ::pwrite(file_.get(), from, bytes, static_cast<off_t>(at));
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) base::throw_errno("cannot write", path_);
    from += put;
    at += static_cast<std::uint64_t>(put);
    bytes -= static_cast<std::uint64_t>(put);
  }
}

void SafetensorsWriter::finish() {
  if (missing_ > 0) throw Error(ErrorKind::internal, path_ + ": " + std::to_string(missing_) + " bytes are missing");
  if (::fsync(file_.get()) != 0) base::throw_errno("cannot sync", path_);
  file_.close(path_);
}

}  // namespace nightreel::weights
