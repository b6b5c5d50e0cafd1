// spiece.model: vocabulary and normalisation table of a tokenizer.
#include "fuzz/fuzz.h"
#include "nightreel/text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nightreel;
  fuzz::file_of("spiece/spiece.model", fuzz::text_of(data, size));
  fuzz::answers_well({base::ErrorKind::model}, [&] {
    const auto tokenizer = text::Tokenizer::load(fuzz::scratch() / "spiece");
    tokenizer.encode("a red circle \xC3\xA9\xEF\xBC\xA1 moves</s>", 32);
  });
  return 0;
}
