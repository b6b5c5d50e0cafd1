#include "nightreel/text/tokenizer.h"

#include <doctest/doctest.h>

#include <bit>
#include <ctime>
#include <filesystem>
#include <functional>
#include <limits>
#include <random>
#include <string>

#include "nightreel/base/error.h"
#include "nightreel/base/file.h"
#include "nightreel/base/json.h"
#include "nightreel/base/random.h"

namespace nightreel::text {
namespace {

using base::Json;
using Ids = std::vector<std::int64_t>;

// A tokenizer folder of one test's own.
class Folder {
 public:
  Folder() : path_(std::filesystem::temp_directory_path() / ("nightreel-text-" + base::random_hex(8))) {
    std::filesystem::create_directory(path_);
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  void write(const std::string& name, const std::string& content) const { base::replace_file(path_ / name, content); }
  std::string path() const { return path_; }

 private:
  std::filesystem::path path_;
};

std::string little_endian(std::uint32_t value) {
  std::string bytes;
  for (unsigned shift = 0; shift < 32; shift += 8) bytes += static_cast<char>(value >> shift & 0xFFU);
  return bytes;
}

// A normalisation table that makes "a" of "A": root -> label 'A' with a leaf -> value 0.
std::string charsmap(std::uint32_t value = 0) {
  std::uint32_t units[256] = {};
  units[0] = 0x40U << 10U;
  units[0x40 ^ 'A'] = 'A' | 0x100U | (0x02U << 10U);
  units[(0x40 ^ 'A') ^ 0x02] = 0x80000000U | value;
  std::string bytes = little_endian(sizeof(units));
  for (const std::uint32_t unit : units) bytes += little_endian(unit);
  return bytes + std::string("a\0", 2);
}

std::string varint(std::uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7U) bytes += static_cast<char>((value & 0x7FU) | 0x80U);
  return bytes + static_cast<char>(value);
}

std::string message(unsigned number, const std::string& bytes) {
  return varint(number << 3U | 2U) + varint(bytes.size()) + bytes;
}

std::string piece(const std::string& text, float score, unsigned type = 1) {
  return message(1, message(1, text) + varint(2U << 3U | 5U) + little_endian(std::bit_cast<std::uint32_t>(score)) +
                        varint(3U << 3U) + varint(type));
}

const std::string kMeta = "\xE2\x96\x81";

// <pad> </s> <unk> ▁ a b ▁ab <mark>
std::string spiece(unsigned model_type = 1, const std::string& map = charsmap()) {
  return piece("<pad>", 0, 3) + piece("</s>", 0, 3) + piece("<unk>", 0, 2) + piece(kMeta, -3) + piece("a", -3) +
         piece("b", -3) + piece(kMeta + "ab", -4) + piece("<mark>", 0, 4) +
         message(2, varint(3U << 3U) + varint(model_type)) + message(3, message(2, map));
}

Json json_tokenizer() {
  return Json::parse(R"({
    "version": "1.0",
    "added_tokens": [
      {"id": 0, "content": "<pad>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
       "special": true},
      {"id": 1, "content": "</s>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
       "special": true}],
    "normalizer": {"type": "Sequence", "normalizers": [
      {"type": "NFKC"}, {"type": "Strip", "strip_left": false, "strip_right": true},
      {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "\u2581"}]},
    "pre_tokenizer": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": true},
    "post_processor": {"type": "TemplateProcessing",
      "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
      "special_tokens": {"</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}}},
    "model": {"type": "Unigram", "unk_id": 2, "byte_fallback": false,
      "vocab": [["<pad>", 0.0], ["</s>", 0.0], ["<unk>", 0.0], ["\u2581", -3.0], ["a", -3.0], ["b", -3.0],
                ["\u2581ab", -4.0]]}})");
}

// The message of the Error{model} that loading, or encoding a text, throws.
std::string failure(const Folder& folder) {
  try {
    Tokenizer::load(folder.path()).encode("AB <mark> \xC3\xA9 z");
  } catch (const base::Error& error) {
    CHECK(error.kind() == base::ErrorKind::model);
    return error.what();
  }
  return "";
}

// Nothing worse than an Error{model} with the folder's path may come of a damaged file. Whether it is refused.
bool refuses(const Folder& folder) {
  const std::string why = failure(folder);
  if (!why.empty()) CHECK(why.find(folder.path()) != std::string::npos);
  return !why.empty();
}

}  // namespace

TEST_CASE("spiece.model: pieces, normalisation, special tokens in the text, the end token") {
  const Folder folder;
  folder.write("spiece.model", spiece());
  const Tokenizer tokenizer = Tokenizer::load(folder.path());
  CHECK(tokenizer.size() == 108);  // eight pieces, a hundred extra ids
  CHECK(tokenizer.encode("") == Ids{1});
  CHECK(tokenizer.encode("ab") == Ids{6, 1});
  CHECK(tokenizer.encode("Ab  bA") == Ids{6, 3, 5, 4, 1});
  CHECK(tokenizer.encode("a xyz") == Ids{3, 4, 3, 2, 1});  // unknown neighbours are one token
  CHECK(tokenizer.encode("a</s>b <pad><mark>") == Ids{3, 4, 1, 3, 5, 0, 7, 1});
  CHECK(tokenizer.encode("<extra_id_0><extra_id_99>") == Ids{107, 8, 1});
  CHECK(tokenizer.encode("a\xff") == Ids{3, 4, 2, 1});
}

TEST_CASE("a long text keeps its first tokens and the end token") {
  const Folder folder;
  folder.write("spiece.model", spiece());
  const Tokenizer tokenizer = Tokenizer::load(folder.path());
  CHECK(tokenizer.encode("ab ab ab", 4) == Ids{6, 6, 6, 1});
  CHECK(tokenizer.encode("ab ab ab", 3) == Ids{6, 6, 1});
  CHECK(tokenizer.encode("ab ab ab", 1) == Ids{1});
  CHECK_THROWS_AS(tokenizer.encode("ab", 0), base::Error);
}

TEST_CASE("tokenizer_config.json: extra ids and the flags of added tokens") {
  const Folder folder;
  folder.write("spiece.model", spiece());
  folder.write("tokenizer_config.json", R"({"extra_ids": 2, "added_tokens_decoder": {
      "0": {"content": "<pad>", "lstrip": true, "rstrip": true, "normalized": false, "special": true},
      "7": {"content": "b", "single_word": true, "normalized": false, "special": true}}})");
  const Tokenizer tokenizer = Tokenizer::load(folder.path());
  CHECK(tokenizer.size() == 10);
  CHECK(tokenizer.encode("a <pad> a") == Ids{3, 4, 0, 3, 4, 1});
  CHECK(tokenizer.encode("b ab") == Ids{5, 6, 1});
  CHECK(tokenizer.encode("<extra_id_1>") == Ids{8, 1});
}

TEST_CASE("tokenizer.json alone gives what it describes") {
  const Folder folder;
  folder.write("tokenizer.json", json_tokenizer().dump());
  const Tokenizer tokenizer = Tokenizer::load(folder.path());
  CHECK(tokenizer.encode("ab  ab ") == Ids{6, 6, 1});
  CHECK(tokenizer.encode("\xEF\xBD\x81z</s>") == Ids{3, 4, 2, 1, 1});  // a full-width a
  CHECK(tokenizer.size() == 7);
}

TEST_CASE("byte fallback spells unknown characters, if all their bytes have pieces") {
  Json json = json_tokenizer();
  json["model"]["byte_fallback"] = true;
  json["model"]["vocab"].push_back(Json::array({"<0xC3>", -9.0}));
  json["model"]["vocab"].push_back(Json::array({"<0xA9>", -9.0}));
  const Folder folder;
  folder.write("tokenizer.json", json.dump());
  const Tokenizer tokenizer = Tokenizer::load(folder.path());
  CHECK(tokenizer.encode("\xC3\xA9") == Ids{3, 7, 8, 1});
  CHECK(tokenizer.encode("z") == Ids{3, 2, 1});
}

TEST_CASE("parts of a tokenizer.json that cannot be used are named") {
  struct Case {
    std::function<void(Json&)> spoil;
    const char* named;
  };
  const Case cases[] = {
      {[](Json& j) { j["model"]["type"] = "BPE"; }, "model: type \"BPE\""},
      {[](Json& j) {
         j["normalizer"] = {{"type", "Lowercase"}};
       },
       "normalizer: type \"Lowercase\""},
      {[](Json& j) {
         j["normalizer"] = {{"type", "Replace"}, {"pattern", {{"Regex", "x+"}}}, {"content", ""}};
       },
       "normalizer.pattern"},
      {[](Json& j) {
         j["normalizer"] = {{"type", "Precompiled"}, {"precompiled_charsmap", "%%%%"}};
       },
       "base64"},
      {[](Json& j) {
         j["normalizer"] = {{"type", "Precompiled"}, {"precompiled_charsmap", "AAAA"}};
       },
       "precompiled_charsmap"},
      {[](Json& j) {
         j["normalizer"] = {{"type", "Precompiled"}, {"precompiled_charsmap", nullptr}};
       },
       "\"precompiled_charsmap\" is missing"},
      {[](Json& j) { j["pre_tokenizer"]["type"] = "ByteLevel"; }, "pre_tokenizer: type \"ByteLevel\""},
      {[](Json& j) { j["pre_tokenizer"]["prepend_scheme"] = "last"; }, "prepend_scheme"},
      {[](Json& j) { j["post_processor"]["type"] = "Roberta"; }, "post_processor: type \"Roberta\""},
      {[](Json& j) { j["post_processor"]["single"] = Json::array(); }, "post_processor.single"},
      {[](Json& j) { j["post_processor"]["special_tokens"].clear(); }, "\"</s>\" is missing"},
      {[](Json& j) { j["model"].erase("vocab"); }, "\"vocab\" is missing"},
      {[](Json& j) { j["model"]["vocab"] = "x"; }, "model.vocab: is no list"},
      {[](Json& j) { j["model"]["vocab"] = Json::array(); }, "model.vocab: is empty"},
      {[](Json& j) { j["model"]["vocab"][3] = "x"; }, "model.vocab[3]"},
      {[](Json& j) { j["model"]["vocab"][3][1] = "x"; }, "model.vocab[3]"},
      {[](Json& j) { j["model"]["unk_id"] = 7; }, "model.unk_id"},
      {[](Json& j) { j["model"]["unk_id"] = -1; }, "model.unk_id"},
      {[](Json& j) { j["model"]["unk_id"] = nullptr; }, "unknown token"},
      {[](Json& j) { j["added_tokens"][0]["id"] = 1; }, "added_tokens[0]"},
      {[](Json& j) { j["added_tokens"][0]["lstrip"] = 1; }, "added_tokens[0].lstrip"},
      {[](Json& j) { j["added_tokens"][0].erase("content"); }, "\"content\" is missing"},
      {[](Json& j) { j = Json::array(); }, "is no object"},
  };
  for (const auto& [spoil, named] : cases) {
    Json json = json_tokenizer();
    spoil(json);
    const Folder folder;
    folder.write("tokenizer.json", json.dump());
    const std::string why = failure(folder);
    INFO(why);
    CHECK(why.rfind(folder.path() + "/tokenizer.json: ", 0) == 0);
    CHECK(why.find(named) != std::string::npos);
  }
}

TEST_CASE("files of a tokenizer folder that cannot be used are named") {
  struct Case {
    const char* file;
    std::string content;
    const char* named;
  };
  const Case cases[] = {
      {"spiece.model", "", "/spiece.model: not a SentencePiece model: it has no pieces"},
      {"spiece.model", "<html>", "/spiece.model: not a SentencePiece model"},
      {"spiece.model", spiece(2), "/spiece.model: model_type 2 (2 BPE"},
      {"spiece.model", spiece(1, "\1\2"), "/spiece.model: precompiled_charsmap"},
      {"spiece.model", spiece(1, charsmap(3)), "/spiece.model: precompiled_charsmap: a value leads out"},
      {"spiece.model", piece("<pad>", 0) + piece("\xff", 0),
       "/spiece.model: not a SentencePiece model: a piece is not UTF-8"},
      {"spiece.model", piece("a", std::numeric_limits<float>::quiet_NaN()), "the score of a piece"},
      {"spiece.model", piece("a", 0, 9), "a piece of type 9"},
      {"tokenizer_config.json", "[]", "/tokenizer_config.json: is no object"},
      {"tokenizer_config.json", "{", "/tokenizer_config.json: "},
      {"tokenizer_config.json", R"({"extra_ids": -1})", "/tokenizer_config.json: extra_ids"},
      {"tokenizer_config.json", R"({"extra_ids": 2000000000})", "/tokenizer_config.json: extra_ids"},
      {"tokenizer_config.json", R"({"truncation_side": "left"})", "/tokenizer_config.json: truncation_side"},
      {"tokenizer_config.json", R"({"eos_token": null})", "/tokenizer_config.json: eos_token"},
      {"tokenizer_config.json", R"({"eos_token": ""})", "/tokenizer_config.json: eos_token"},
      {"tokenizer_config.json", R"({"added_tokens_decoder": {"x": "y"}})",
       "added_tokens_decoder: \"x\" is no token id"},
      {"tokenizer_config.json", R"({"extra_special_tokens": {}})", "extra_special_tokens: is no list"},
  };
  for (const auto& [file, content, named] : cases) {
    const Folder folder;
    folder.write("spiece.model", spiece());
    folder.write(file, content);
    const std::string why = failure(folder);
    INFO(why);
    CHECK(why.rfind(folder.path(), 0) == 0);
    CHECK(why.find(named) != std::string::npos);
  }
  const Folder empty;
  CHECK(failure(empty).find("neither spiece.model nor tokenizer.json") != std::string::npos);
}

TEST_CASE("a spiece.model that is cut anywhere, or has any byte changed, gives an error or a tokenizer") {
  const std::string whole = spiece();
  std::mt19937 random(11);  // NOLINT: the same bytes in every run
  const Folder folder;
  int tried = 0;
  int refused = 0;
  const auto feed = [&](const std::string& bytes) {
    folder.write("spiece.model", bytes);
    ++tried;
    refused += refuses(folder) ? 1 : 0;
  };
  for (std::size_t i = 0; i < whole.size(); i += i < 200 ? 1 : 37) {
    feed(whole.substr(0, i));
    std::string changed = whole;
    changed[i] = static_cast<char>(random());
    feed(changed);
  }
  for (int i = 0; i < 100; ++i) {  // tables of random bytes
    std::string units(64, '\0');
    for (char& c : units) c = static_cast<char>(random());
    feed(spiece(1, little_endian(48) + units.substr(0, 48) + std::string("ab\0c", 4)));
  }
  CHECK(refused > tried / 4);
  CHECK(refused < tried);
}

TEST_CASE("a megabyte without a blank is tokenised in seconds") {
  const Folder folder;
  folder.write("spiece.model", spiece());
  const Tokenizer tokenizer = Tokenizer::load(folder.path());
  for (const std::string part : {"a", "\xCC\x81", "z", "<pad", "\xE2\x96\x81"}) {
    const std::clock_t begun = std::clock();  // of the processor: the machine may be busy
    std::string text;
    while (text.size() < 1'000'000) text += part;
    CHECK(tokenizer.encode(text).size() <= 512);
    CHECK(std::clock() - begun < 30 * CLOCKS_PER_SEC);
  }
}

}  // namespace nightreel::text
