// The reader of tokenizer.json (tokenizers 0.23's serialisation).
#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

#include "nightreel/base/error.h"
#include "nightreel/base/json.h"
#include "text/json_fields.h"
#include "text/tokenizer_parts.h"

namespace nightreel::text {
namespace {

constexpr const char* kBlankRuns = " {2,}";  // the one regular expression that T5's converters write

[[noreturn]] void unknown_type(const JsonField& field, const std::string& type, const std::string& known) {
  field.fail("type \"" + base::printable(type) + "\" is not known; known: " + known);
}

std::string decode_base64(const JsonField& field) {
  static constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const std::string text = field.string();
  if (text.size() % 4 != 0) field.fail("is no base64: its length is no multiple of 4");
  const std::size_t padding = text.size() - std::min(text.find('='), text.size());
  if (padding > 2) field.fail("is no base64: too much padding");
  std::array<int, 256> value_of{};
  value_of.fill(-1);
  for (std::size_t i = 0; i < kDigits.size(); ++i)
    value_of[static_cast<unsigned char>(kDigits[i])] = static_cast<int>(i);
  std::string out;
  std::uint32_t bits = 0;
  unsigned count = 0;
  for (const char c : std::string_view(text).substr(0, text.size() - padding)) {
    const int value = value_of[static_cast<unsigned char>(c)];
    if (value < 0) field.fail("is no base64");
    bits = (bits << 6U) | static_cast<std::uint32_t>(value);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    out += static_cast<char>(bits >> count & 0xFFU);
  }
  if (text.find_first_not_of('=', text.size() - padding) != std::string::npos) field.fail("is no base64");
  return out;
}

NormalizerStep read_charsmap(const JsonField& field) {
  try {
    return std::make_shared<const Charsmap>(decode_base64(field.at("precompiled_charsmap")));
  } catch (const base::Error& error) {
    const std::string why = error.what();
    if (why.rfind("precompiled_charsmap", 0) == 0) field.fail(why);
    throw;
  }
}

NormalizerStep read_replace(const JsonField& field) {
  const JsonField pattern = field.at("pattern");
  const std::string content = field.at("content").string();
  if (const auto text = pattern.find("String")) return Replace{false, text->string(), content};
  const auto expression = pattern.find("Regex");
  if (!expression || expression->string() != kBlankRuns)
    pattern.fail("is neither a string nor the expression \" {2,}\"");
  return Replace{true, {}, content};
}

void read_normalizer(const JsonField& field, std::vector<NormalizerStep>& steps) {
  const std::string type = field.at("type").string();
  if (type == "Sequence") {
    for (const auto& part : field.at("normalizers").list()) read_normalizer(part, steps);
  } else if (type == "Precompiled") {
    steps.push_back(read_charsmap(field));
  } else if (type == "NFKC") {
    steps.emplace_back(Nfkc{});
  } else if (type == "Strip") {
    steps.emplace_back(Strip{field.at("strip_left").boolean(), field.at("strip_right").boolean()});
  } else if (type == "Replace") {
    steps.push_back(read_replace(field));
  } else {
    unknown_type(field, type, "Sequence, Precompiled, NFKC, Strip, Replace");
  }
}

Metaspace read_metaspace(const JsonField& field) {
  Metaspace step;
  step.replacement = field.at("replacement").string();
  if (step.replacement.empty()) field.fail("replacement is empty");
  step.split = field.boolean_or("split", true);
  const std::string prepend = field.string_or("prepend_scheme", "always");
  if (prepend != "always" && prepend != "first" && prepend != "never") {
    field.fail("prepend_scheme \"" + base::printable(prepend) + "\" is not known; known: always, first, never");
  }
  step.prepend = prepend == "always"  ? Metaspace::Prepend::always
                 : prepend == "first" ? Metaspace::Prepend::first
                                      : Metaspace::Prepend::never;
  if (!field.boolean_or("add_prefix_space", true)) step.prepend = Metaspace::Prepend::never;
  return step;
}

void read_pre_tokenizer(const JsonField& field, std::vector<PreTokenizerStep>& steps) {
  const std::string type = field.at("type").string();
  if (type == "Sequence") {
    for (const auto& part : field.at("pretokenizers").list()) read_pre_tokenizer(part, steps);
  } else if (type == "WhitespaceSplit") {
    steps.emplace_back(WhitespaceSplit{});
  } else if (type == "Metaspace") {
    steps.emplace_back(read_metaspace(field));
  } else {
    unknown_type(field, type, "Sequence, WhitespaceSplit, Metaspace");
  }
}

Unigram read_model(const JsonField& field) {
  const std::string type = field.string_or("type", "Unigram");
  if (type != "Unigram") unknown_type(field, type, "Unigram");
  std::vector<Piece> pieces;
  const JsonField vocabulary = field.at("vocab");
  if (!vocabulary.json().is_array()) vocabulary.fail("is no list");
  for (const auto& entry : vocabulary.json()) {
    const bool pair = entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_number();
    if (!pair || !std::isfinite(entry[1].get<double>())) {
      vocabulary.at(pieces.size()).fail("is no pair of a piece and its score");
    }
    pieces.push_back({entry[0].get<std::string>(), entry[1].get<double>()});
  }
  if (pieces.empty()) vocabulary.fail("is empty");
  std::optional<std::uint32_t> unknown;
  if (const auto id = field.find("unk_id")) {
    if (id->index() >= static_cast<std::int64_t>(pieces.size())) id->fail("is not below the vocabulary's size");
    unknown = static_cast<std::uint32_t>(id->index());
  }
  return Unigram(pieces, unknown, field.boolean_or("byte_fallback", false));
}

AddedToken read_added_token(const JsonField& field, const Unigram& model) {
  AddedToken token{
      field.at("content").string(),           field.at("id").index(),
      field.boolean_or("single_word", false), field.boolean_or("lstrip", false),
      field.boolean_or("rstrip", false),      field.boolean_or("normalized", !field.boolean_or("special", false))};
  if (token.content.empty()) field.fail("content is empty");
  const std::int64_t piece = model.find(token.content);
  const bool beyond = token.id >= static_cast<std::int64_t>(model.size());
  if (piece >= 0 ? piece != token.id : !beyond) field.fail("its id is that of another token of the vocabulary");
  return token;
}

void append_special(const JsonField& processor, const JsonField& token, std::vector<std::int64_t>& ids) {
  const JsonField special = processor.at("special_tokens").at(token.at("id").string());
  for (const auto& id : special.at("ids").list()) ids.push_back(id.index());
}

void read_post_processor(const JsonField& field, TokenizerParts& parts) {
  const std::string type = field.at("type").string();
  if (type != "TemplateProcessing") unknown_type(field, type, "TemplateProcessing");
  const JsonField single = field.at("single");
  bool after = false;
  for (const auto& item : single.list()) {
    if (const auto special = item.find("SpecialToken")) {
      append_special(field, *special, after ? parts.suffix : parts.prefix);
    } else if (item.at("Sequence").at("id").string() != "A" || after) {
      single.fail("is no template of one text");
    } else {
      after = true;
    }
  }
  if (!after) single.fail("is no template of one text");
}

TokenizerParts read_root(const JsonField& root, const std::string& path) {
  TokenizerParts parts{path, {}, {}, read_model(root.at("model")), {}, 0, {}, {}};
  if (const auto field = root.find("normalizer")) read_normalizer(*field, parts.normalizer);
  if (const auto field = root.find("pre_tokenizer")) read_pre_tokenizer(*field, parts.pre_tokenizer);
  if (const auto field = root.find("post_processor")) read_post_processor(*field, parts);
  parts.size = static_cast<std::int64_t>(parts.model.size());
  std::vector<AddedToken> added;
  if (const auto field = root.find("added_tokens")) {
    for (const auto& entry : field->list()) added.push_back(read_added_token(entry, parts.model));
  }
  for (const auto& token : added) parts.size = std::max(parts.size, token.id + 1);
  const Normalize normalize_text = [&](std::string text) { return normalize(parts.normalizer, std::move(text)); };
  parts.added = AddedTokens(std::move(added), normalize_text);
  return parts;
}

}  // namespace

TokenizerParts read_tokenizer_json(const std::string& path) {
  const base::Json json = base::read_json(path);
  return read_root(JsonField(json, path, ""), path);
}

}  // namespace nightreel::text
