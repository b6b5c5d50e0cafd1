// tokenizer.json alone, which is all that transformers 5 writes.
#include "fuzz/fuzz.h"
#include "nightreel/text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nightreel;
  fuzz::file_of("tokenizer/tokenizer.json", fuzz::text_of(data, size));
  fuzz::answers_well({base::ErrorKind::model}, [&] {
    const auto tokenizer = text::Tokenizer::load(fuzz::scratch() / "tokenizer");
    tokenizer.encode("a red circle \xC3\xA9\xEF\xBC\xA1 moves</s>", 32);
  });
  return 0;
}
