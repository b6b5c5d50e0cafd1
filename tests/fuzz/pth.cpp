// A .pth file: a zip file of a pickle and storages.
#include "nightreel/weights/tensor_file.h"

#include "fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nightreel;
  const std::string path = fuzz::file_of("weights.pth", fuzz::text_of(data, size));
  fuzz::answers_well({base::ErrorKind::model}, [&] {
    const auto file = weights::TensorFile::open(path);
    for (const auto& [name, stored] : file.tensors()) {
      if (stored.row_major()) fuzz::expect(file.bytes(stored).size() == stored.bytes, "bytes that are not there");
      fuzz::answers_well({base::ErrorKind::model}, [&, &of = name] { file.tensor(of); });
    }
  });
  return 0;
}
