#include "bench/inputs.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include "nightreel/base/error.h"
#include "nightreel/pipeline/memory_model.h"
#include "nightreel/weights/tensor_file.h"

namespace nightreel::bench {

namespace {

using base::Error;
using base::ErrorKind;

constexpr std::uint64_t kSeed = 20260101;
constexpr std::int64_t kFirstWord = 3;  // after padding, end and unknown

at::Generator generator_for(const std::string& name) {
  return at::make_generator<at::CPUGeneratorImpl>(kSeed + std::hash<std::string>()(name) % 1000);
}

}  // namespace

struct Reference::File {
  weights::TensorFile tensors;
};

Reference::Reference(const std::string& path) {
  try {
    file_ = std::make_unique<const File>(File{weights::TensorFile::open_safetensors(path)});
  } catch (const Error& e) {
    throw Error(ErrorKind::usage, e.what());  // no model, but a file that the caller named
  }
}

Reference::~Reference() = default;

at::Tensor Reference::tensor(const std::string& name) const {
  if (file_->tensors.tensors().count(name) == 0) {
    throw Error(ErrorKind::usage, file_->tensors.path() + ": tensor " + base::printable(name) +
                                      ": missing; the reference is not one for this piece");
  }
  return file_->tensors.tensor(name);
}

at::Tensor Inputs::tensor(const std::string& name, at::IntArrayRef shape) const {
  if (reference_ != nullptr) return given(name);
  return at::randn(shape, generator_for(name), at::TensorOptions(at::kFloat));
}

at::Tensor Inputs::embeddings(const std::string& name, std::int64_t width, std::int64_t tokens) const {
  at::Tensor embeds_1TE = tensor(name, {1, card::kTextLen, width});
  if (reference_ == nullptr) embeds_1TE.slice(1, tokens).zero_();
  return embeds_1TE;
}

at::Tensor Inputs::picture(const std::string& name, std::int64_t height, std::int64_t width) const {
  return at::randint(256, {height, width, 3}, generator_for(name), at::TensorOptions(at::kByte));
}

std::vector<std::int64_t> Inputs::tokens(const std::string& name, std::int64_t count, std::int64_t vocabulary) const {
  const at::Tensor ids_S = reference_ != nullptr ? given(name).to(at::kLong).contiguous()
                                                 : at::randint(kFirstWord, vocabulary, {count}, generator_for(name),
                                                               at::TensorOptions(at::kLong));
  const auto* first = ids_S.const_data_ptr<std::int64_t>();
  return {first, first + ids_S.numel()};
}

}  // namespace nightreel::bench
