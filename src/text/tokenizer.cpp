#include "nightreel/text/tokenizer.h"

#include <filesystem>

#include "nightreel/base/error.h"
#include "nightreel/base/links.h"
#include "text/tokenizer_parts.h"
#include "text/unicode.h"

namespace nightreel::text {
namespace {

TokenizerParts read_folder(const std::string& folder) {
  const std::filesystem::path path(folder);
  std::error_code error;
  if (std::filesystem::exists(path / "spiece.model", error)) return read_t5(folder);
  const std::string json = path / "tokenizer.json";
  if (std::filesystem::exists(json, error)) return read_tokenizer_json(json);
  for (const char* name : {"/spiece.model", "/tokenizer.json"}) {
    const std::string dangling = base::dangling_link(folder + name);
    if (!dangling.empty()) throw base::Error(base::ErrorKind::model, folder + name + ": " + dangling);
  }
  throw base::Error(base::ErrorKind::model, folder + ": holds neither spiece.model nor tokenizer.json");
}

std::vector<std::int64_t> encode_whole(const TokenizerParts& parts, std::string_view text) {
  const Normalize normalize_text = [&](std::string part) { return normalize(parts.normalizer, std::move(part)); };
  std::vector<std::int64_t> ids;
  for (auto& segment : parts.added.split(text, normalize_text)) {
    if (segment.id >= 0) {
      ids.push_back(segment.id);
      continue;
    }
    for (const auto& word : words_of(parts.pre_tokenizer, std::move(segment.text), segment.at_start)) {
      parts.model.encode(word, ids);
    }
  }
  return ids;
}

}  // namespace

struct Tokenizer::Parts : TokenizerParts {};

Tokenizer::Tokenizer(std::shared_ptr<const Parts> parts) : parts_(std::move(parts)) {}

Tokenizer Tokenizer::load(const std::string& folder) {
  return Tokenizer(std::make_shared<const Parts>(Parts{read_folder(folder)}));
}

std::vector<std::int64_t> Tokenizer::encode(std::string_view text, std::size_t max_length) const {
  const std::size_t special = parts_->prefix.size() + parts_->suffix.size();
  if (max_length < special) {
    throw base::Error(base::ErrorKind::usage, "max_length " + std::to_string(max_length) + ": at least " +
                                                  std::to_string(special) + " special tokens are added");
  }
  try {
    std::vector<std::int64_t> ids = encode_whole(*parts_, encode_utf8(decode_utf8(text)));
    if (ids.size() > max_length - special) ids.resize(max_length - special);
    ids.insert(ids.begin(), parts_->prefix.begin(), parts_->prefix.end());
    ids.insert(ids.end(), parts_->suffix.begin(), parts_->suffix.end());
    return ids;
  } catch (const base::Error& error) {
    throw base::Error(error.kind(), parts_->path + ": " + error.what());
  }
}

std::size_t Tokenizer::size() const {
  return static_cast<std::size_t>(parts_->size);
}

}  // namespace nightreel::text
