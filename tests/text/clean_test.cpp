#include "nightreel/text/clean.h"

#include <doctest/doctest.h>

#include <ctime>
#include <random>
#include <string>
#include <string_view>

#include "text/unicode.h"

namespace nightreel::text {
namespace {

constexpr std::size_t kMegabyte = 1'000'000;

std::string repeated(const std::string& part, std::size_t bytes) {
  std::string text;
  while (text.size() < bytes) text += part;
  return text;
}

bool is_utf8(const std::string& text) {
  return encode_utf8(decode_utf8(text)) == text;
}

}  // namespace

TEST_CASE("a prompt is cleaned as diffusers cleans it") {
  struct Case {
    const char* given;
    const char* cleaned;
  };
  const Case cases[] = {
      {"", ""},
      {"A cat walks.", "A cat walks."},
      {" two\t lines\n here\u3000", "two lines here"},
      {"s\u00c3\u00b3", "s\u00f3"},                                  // UTF-8 taken for Latin-1
      {"\u00e2\u0153\u201d No problems", "\u2714 No problems"},      // … for Windows-1252
      {"voil\u00c3 le travail", "voil\u00e0 le travail"},            // and A0 taken for a blank
      {"\u201chere\u2019s a test\u201d", "\"here's a test\""},       // curly quotes
      {"\uff2c\uff2f\uff35\uff24\u3000\uff76", "LOUD \u30ab"},       // widths
      {"\ufb02u\ufb03e\ufb06", "fluffiest"},                         // ligatures
      {"&lt;b&gt; P&EACUTE;REZ &hellip;", "<b> P\u00c9REZ \u2026"},  // entities
      {"<b> &eacute &amp;lt;", "<b> \u00e9 <"},                      // HTML keeps them until the second step
      {"\x1b[31mred\x1b[0m \x01line", "red line"},                   // terminals and control characters
      {"e\u0301", "\u00e9"},                                         // normal form C
      {"\u7ea2\u8272\u7684\u5706\u5f62", "\u7ea2\u8272\u7684\u5706\u5f62"},
      {"\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35 \u0645\u0631\u062d\u0628\u0627",
       "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35 \u0645\u0631\u062d\u0628\u0627"},
  };
  for (const auto& [given, cleaned] : cases) CHECK(clean_prompt(given) == cleaned);
}

TEST_CASE("bytes that are not UTF-8 become replacement characters, one for each wrong piece") {
  CHECK(clean_prompt("a\xff z") == "a\ufffd z");
  CHECK(clean_prompt("\xe2\x82") == "\ufffd");
  CHECK(clean_prompt("\xed\xa0\x80") == "\ufffd\ufffd\ufffd");
  CHECK(clean_prompt("\xc0\xaf!") == "\ufffd\ufffd!");
  CHECK(clean_prompt("\xf4\x90\x80\x80.") == "\ufffd\ufffd\ufffd\ufffd.");
}

TEST_CASE("random bytes give UTF-8") {
  std::mt19937 random(7);  // NOLINT: the same bytes in every run
  const std::string_view tricky = "&#xEA0;\xc3\xa2\xc2\x80\xed\xf0 \x1b[";
  for (int i = 0; i < 500; ++i) {
    std::string bytes(random() % 80, ' ');
    for (char& c : bytes) c = i % 2 == 0 ? static_cast<char>(random()) : tricky[random() % tricky.size()];
    const std::string cleaned = clean_prompt(bytes);
    CHECK(is_utf8(cleaned));
  }
}

TEST_CASE("the time is linear: a megabyte of the worst text takes seconds") {
  const char* parts[] = {"amp;", "\u0323\u0301", "\u00c3\u0192\u00c2\u00a9", "\x1b[1", "&#38;#38;", "\u00c3 ",
                         "&",    "\u00f0",       "\u0430\u00e2\u20ac"};
  for (const std::string part : parts) {
    const std::clock_t begun = std::clock();  // of the processor: the machine may be busy
    CHECK(is_utf8(clean_prompt("&" + repeated(part, kMegabyte))));
    const double seconds = static_cast<double>(std::clock() - begun) / CLOCKS_PER_SEC;
    INFO(part, " took ", seconds);
    CHECK(seconds < 60);  // sanitizers included; a quadratic pass would take hours
  }
}

}  // namespace nightreel::text
