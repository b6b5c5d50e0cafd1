// Tensors of files as they stand: types, shapes, empty, unaligned and strided ones.
#include "nightreel/weights/tensor_file.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include "support/damage.h"
#include "support/error.h"
#include "support/temp_folder.h"
#include "tensorfile/pth_files.h"
#include "weights/checkpoint_files.h"

using namespace nightreel;
using test::contains;
using test::damage_everywhere;
using test::file_bytes;
using test::four;
using test::kFour;
using test::pth_of;
using test::refusal;
using test::TempFolder;
using weights::TensorFile;
namespace pickle = test::pickle;

TEST_CASE("a file is read as it stands: dtypes, shapes, empty and unaligned tensors, metadata") {
  const TempFolder folder;
  const std::string path =
      folder.write("good.safetensors",
                   file_bytes(R"({"__metadata__":{"format":"pt"},
    "f":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}, "none":{"dtype":"F32","shape":[3,0],"data_offsets":[8,8]},
    "b":{"dtype":"BF16","shape":[],"data_offsets":[8,10]}, "odd":{"dtype":"F32","shape":[1],"data_offsets":[10,14]},
    "ids":{"dtype":"I64","shape":[1],"data_offsets":[14,22]}})",
                              std::string("\0\0\x80\x3f\0\0\0\x40\x40\x40\0\0\x40\x40", 14) + std::string(8, '\0')));
  at::Tensor kept;
  {
    const TensorFile file = TensorFile::open_safetensors(path);
    CHECK(file.tensors().size() == 5);
    CHECK(at::equal(file.tensor("f"), at::tensor({1.0F, 2.0F}).view({2, 1})));
    CHECK(file.tensor("none").numel() == 0);
    CHECK(file.tensor("b").item<float>() == 3.0F);
    CHECK(file.tensor("odd").item<float>() == 3.0F);
    CHECK(file.bytes(file.tensors().at("b")) == "\x40\x40");
    CHECK(contains(refusal([&] { file.tensor("ids"); }), "tensor ids: dtype I64 is not supported"));
    CHECK(contains(refusal([&] { file.tensor("nobody"); }), "tensor nobody: missing"));
    kept = file.tensor("f");
  }
  CHECK(kept.sum().item<float>() == 3.0F);  // the mapping lives as long as its tensors
}

TEST_CASE("a file of torch.save is read as it stands: shared storages, offsets, strides, parameters, tied tensors") {
  const TempFolder folder;
  const std::string path = folder.write("good.pth", test::good_pth());
  at::Tensor kept;
  {
    const TensorFile file = TensorFile::open(path);
    CHECK(file.tensors().size() == 7);
    CHECK(at::equal(file.tensor("w"), at::tensor({1.0F, 2.0F, 3.0F, 4.0F})));
    CHECK(at::equal(file.tensor("tied"), file.tensor("w")));
    CHECK(at::equal(file.tensor("t"), at::tensor({1.0F, 3.0F, 2.0F, 4.0F}).view({2, 2})));
    CHECK(at::equal(file.tensor("p"), at::tensor({3.0F, 4.0F})));
    CHECK((file.tensor("e").scalar_type() == at::kFloat8_e4m3fn));
    CHECK(file.tensor("none").sizes() == at::IntArrayRef({0, 3}));
    CHECK(file.tensor("scalar").item<float>() == 4.0F);
    CHECK(file.bytes(file.tensors().at("p")) == kFour.substr(8));
    kept = file.tensor("t");
  }
  CHECK(kept.sum().item<float>() == 10.0F);  // the mapping lives as long as its tensors
}

TEST_CASE("of a damaged file every tensor that is still named can be touched") {
  const TempFolder folder;
  const std::string safetensors = file_bytes(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                                             R"("b":{"dtype":"F16","shape":[2,1],"data_offsets":[4,8]}})",
                                             std::string(8, '\1'));
  damage_everywhere(safetensors, [&](const std::string& content) {
    const TensorFile file = TensorFile::open_safetensors(folder.write("fuzzed.safetensors", content));
    for (const auto& [name, stored] : file.tensors()) {
      const bool known = stored.type == weights::StoredType::f32 || stored.type == weights::StoredType::f16;
      if (known) CHECK(file.tensor(name).to(at::kFloat).defined());
    }
  });
  const std::string pth =
      pth_of(pickle::state_dict({{"w", pickle::tensor(four(), 0, {2, 2}, {1, 2})}}), {{"0", kFour}});
  damage_everywhere(pth, [&](const std::string& content) {
    const TensorFile file = TensorFile::open(folder.write("fuzzed.pth", content));
    for (const auto& [name, stored] : file.tensors()) {
      if (stored.type == weights::StoredType::f32) CHECK(file.tensor(name).sum().defined());
    }
  });
}

TEST_CASE("the end of its name says in which format a file is") {
  const TempFolder folder;
  CHECK(TensorFile::open(folder.write("good.pth", test::good_pth())).tensors().size() == 7);
  const auto error = test::thrown_by([&] { TensorFile::open(folder.write("good.tensors", test::good_pth())); });
  CHECK(error.kind == base::ErrorKind::model);
  CHECK(contains(error.message, "good.tensors: is in no format"));
}
