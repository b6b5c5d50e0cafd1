// A safetensors file, as a part of a checkpoint and as a LoRA with its metadata.
#include "nightreel/weights/tensor_file.h"

#include "fuzz/fuzz.h"
#include "nightreel/model/lora.h"

namespace nightreel::fuzz {
namespace {

/// Every byte that the header promises is there to be read.
void touch(const weights::TensorFile& file) {
  unsigned sum = 0;
  for (const auto& [name, stored] : file.tensors()) {
    const std::string_view bytes = file.bytes(stored);
    expect(bytes.size() == stored.bytes, "a tensor's bytes are not as many as it says");
    if (!bytes.empty()) sum += static_cast<unsigned char>(bytes.front()) + static_cast<unsigned char>(bytes.back());
    answers_well({ErrorKind::model}, [&, &of = name] { file.tensor(of); });
  }
  expect(sum + 1 > 0, "");  // so that the reads stay
}

}  // namespace
}  // namespace nightreel::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nightreel;
  const std::string path = fuzz::file_of("weights.safetensors", fuzz::text_of(data, size));
  fuzz::answers_well({base::ErrorKind::model}, [&] { fuzz::touch(weights::TensorFile::open_safetensors(path)); });
  fuzz::answers_well({base::ErrorKind::job}, [&] {
    const auto lora = model::LoraFile::open(path);
    fuzz::expect(lora->digest().size() == 32, "a LoRA file without a digest");
    lora->keys();
  });
  return 0;
}
