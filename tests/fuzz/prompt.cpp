// A prompt cleaned, and its tokens by the tokenizer of models/shapes.
#include <nlohmann/json.hpp>

#include "fuzz/fuzz.h"
#include "nightreel/text/clean.h"
#include "nightreel/text/tokenizer.h"

namespace nightreel::fuzz {
namespace {

constexpr std::size_t kMost = 64;  // tokens

const text::Tokenizer& tokenizer() {
  static const text::Tokenizer loaded = text::Tokenizer::load(source_file("models/shapes/tokenizer"));
  return loaded;
}

/// Throws where it is no UTF-8.
void check_utf8(const std::string& text) {
  nlohmann::json(text).dump();
}

void check_tokens(std::string_view text) {
  const auto tokens = tokenizer().encode(text, kMost);
  expect(!tokens.empty() && tokens.size() <= kMost, "no tokens, or too many");
  for (const std::int64_t token : tokens) {
    expect(token >= 0 && token < static_cast<std::int64_t>(tokenizer().size()), "a token that the vocabulary lacks");
  }
}

}  // namespace
}  // namespace nightreel::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nightreel;
  const std::string_view prompt = fuzz::text_of(data, size);
  fuzz::answers_well({}, [&] {
    const std::string clean = text::clean_prompt(prompt);
    fuzz::check_utf8(clean);
    fuzz::check_tokens(clean);
    fuzz::check_tokens(prompt);
  });
  return 0;
}
