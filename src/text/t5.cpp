// transformers' T5Tokenizer over a SentencePiece model (models/t5/tokenization_t5.py, convert_slow_tokenizer.py and
// tokenization_utils_tokenizers.py of transformers 5.23).
#include <algorithm>
#include <filesystem>
#include <map>

#include "nightreel/base/error.h"
#include "nightreel/base/file.h"
#include "nightreel/base/json.h"
#include "text/json_fields.h"
#include "text/spiece.h"
#include "text/tokenizer_parts.h"

namespace nightreel::text {
namespace {

constexpr std::uint32_t kUnknown = 2;  // T5Tokenizer's, whatever the file says
constexpr std::int64_t kExtraIds = 100;
constexpr std::int64_t kMaxExtraIds = 100'000;
constexpr std::size_t kMaxModelBytes = 256U << 20U;
constexpr const char* kExtraIdMark = "<extra_id_";

std::string extra_id(std::int64_t i) {
  return kExtraIdMark + std::to_string(i) + ">";
}

// tokenizer_config.json, or an empty object.
base::Json read_config(const std::string& path) {
  std::error_code error;
  return std::filesystem::exists(path, error) ? base::read_json(path) : base::Json::object();
}

// Options under which transformers would give other ids than this class does.
void refuse_other_options(const JsonField& config) {
  for (const char* side : {"truncation_side", "padding_side"}) {
    if (config.string_or(side, "right") != "right") config.at(side).fail("only \"right\" is known");
  }
  if (config.boolean_or("split_special_tokens", false)) config.at("split_special_tokens").fail("only false is known");
}

// A special token is written as its text or as an object with its flags.
AddedToken read_token(const JsonField& field) {
  if (field.is_string()) return AddedToken{field.string()};
  return {field.at("content").string(),           0,
          field.boolean_or("single_word", false), field.boolean_or("lstrip", false),
          field.boolean_or("rstrip", false),      field.boolean_or("normalized", !field.boolean_or("special", false))};
}

// The tokens to find in texts, in the order in which transformers adds them; of two alike the first counts.
class TokenList {
 public:
  void add(AddedToken token) {
    const bool known = std::any_of(tokens_.begin(), tokens_.end(),
                                   [&](const AddedToken& other) { return other.content == token.content; });
    if (!known && !token.content.empty()) tokens_.push_back(std::move(token));
  }
  std::vector<AddedToken>& tokens() { return tokens_; }

 private:
  std::vector<AddedToken> tokens_;
};

void add_decoder_tokens(const JsonField& decoder, TokenList& list) {
  std::map<std::int64_t, AddedToken> by_id;
  for (const auto& [key, value] : decoder.json().items()) {
    const bool digits = !key.empty() && key.size() < 10 && key.find_first_not_of("0123456789") == std::string::npos;
    if (!digits) decoder.fail("\"" + base::printable(key) + "\" is no token id");
    by_id[std::stoll(key)] = read_token(decoder.at(key));
  }
  for (auto& [id, token] : by_id) list.add(std::move(token));
}

// Control and user-defined pieces, and the extra ids unless such pieces have them.
void add_model_tokens(const SpieceModel& model, std::int64_t extra_ids, const JsonField& config, TokenList& list) {
  std::int64_t extra_pieces = 0;
  for (std::size_t i = 0; i < model.pieces.size(); ++i) {
    if (model.types[i] != SpieceModel::Type::control && model.types[i] != SpieceModel::Type::user_defined) continue;
    extra_pieces += model.pieces[i].text.find(kExtraIdMark) != std::string::npos ? 1 : 0;
    list.add(AddedToken{model.pieces[i].text});
  }
  if (extra_pieces > 0 && extra_ids > 0 && extra_pieces != extra_ids) {
    config.fail("extra_ids is " + std::to_string(extra_ids) + ", but spiece.model has " + std::to_string(extra_pieces) +
                " such pieces");
  }
  if (extra_pieces > 0) return;
  for (std::int64_t i = 0; i < extra_ids; ++i) list.add(AddedToken{extra_id(i)});
}

// "eos_token" and its like; null names none.
void add_named(const JsonField& config, const char* key, const char* otherwise, TokenList& list) {
  if (const auto token = config.find(key)) {
    list.add(read_token(*token));
  } else if (otherwise != nullptr && !config.json().contains(key)) {
    list.add(AddedToken{otherwise});
  }
}

std::vector<AddedToken> special_tokens(const SpieceModel& model, std::int64_t extra_ids, const JsonField& config) {
  TokenList list;
  if (const auto decoder = config.find("added_tokens_decoder")) add_decoder_tokens(*decoder, list);
  add_named(config, "bos_token", nullptr, list);
  add_named(config, "eos_token", "</s>", list);
  add_named(config, "unk_token", "<unk>", list);
  add_named(config, "sep_token", nullptr, list);
  add_named(config, "pad_token", "<pad>", list);
  add_named(config, "cls_token", nullptr, list);
  add_named(config, "mask_token", nullptr, list);
  auto extra = config.find("extra_special_tokens");
  if (!extra) extra = config.find("additional_special_tokens");
  if (extra) {
    for (const auto& token : extra->list()) list.add(read_token(token));
  } else {
    add_model_tokens(model, extra_ids, config, list);
  }
  return std::move(list.tokens());
}

// Tokens of the vocabulary keep their id, others get the next free ones. Returns the number of ids.
std::int64_t number_tokens(std::vector<AddedToken>& tokens, const Unigram& model) {
  auto next = static_cast<std::int64_t>(model.size());
  for (auto& token : tokens) {
    const std::int64_t known = model.find(token.content);
    token.id = known >= 0 ? known : next++;
  }
  return next;
}

std::int64_t end_token_id(const JsonField& config, const std::vector<AddedToken>& tokens) {
  const auto named = config.find("eos_token");
  if (!named && config.json().contains("eos_token")) config.fail("eos_token is null");
  const std::string content = named ? read_token(*named).content : "</s>";
  const auto found =
      std::find_if(tokens.begin(), tokens.end(), [&](const AddedToken& t) { return t.content == content; });
  if (found == tokens.end()) config.fail("eos_token names no token");
  return found->id;
}

SpieceModel read_spiece(const std::string& path) {
  try {
    return parse_spiece(base::read_file(path, kMaxModelBytes));
  } catch (const base::Error& error) {
    const std::string why = error.what();
    throw base::Error(base::ErrorKind::model, why.find(path) == std::string::npos ? path + ": " + why : why);
  }
}

std::vector<NormalizerStep> normalizer_of(const SpieceModel& model, const std::string& path) {
  if (model.charsmap.empty()) return {};
  try {
    return {std::make_shared<const Charsmap>(model.charsmap)};
  } catch (const base::Error& error) {
    throw base::Error(base::ErrorKind::model, path + ": " + error.what());
  }
}

std::int64_t extra_id_count(const JsonField& config) {
  const auto field = config.find("extra_ids");
  const std::int64_t count = field ? field->index() : kExtraIds;
  if (count > kMaxExtraIds) field->fail("is larger than " + std::to_string(kMaxExtraIds));
  return count;
}

Unigram make_model(SpieceModel model, std::int64_t extra_ids, const std::string& path) {
  for (std::int64_t i = extra_ids; i-- > 0;) model.pieces.push_back({extra_id(i), 0.0});
  if (model.pieces.size() <= kUnknown) throw base::Error(base::ErrorKind::model, path + ": fewer than three pieces");
  return Unigram(model.pieces, kUnknown, false);
}

}  // namespace

TokenizerParts read_t5(const std::string& folder) {
  const std::string path = std::filesystem::path(folder) / "spiece.model";
  const std::string config_path = std::filesystem::path(folder) / "tokenizer_config.json";
  const base::Json json = read_config(config_path);
  const JsonField config(json, config_path, "");
  refuse_other_options(config);
  const SpieceModel spiece = read_spiece(path);
  const std::int64_t extra_ids = extra_id_count(config);

  TokenizerParts parts{path, normalizer_of(spiece, path), {}, make_model(spiece, extra_ids, path), {}, 0, {}, {}};
  parts.pre_tokenizer = {WhitespaceSplit{}, Metaspace{}};
  auto tokens = special_tokens(spiece, extra_ids, config);
  parts.size = number_tokens(tokens, parts.model);
  parts.suffix = {end_token_id(config, tokens)};
  const Normalize normalize_text = [&](std::string text) { return normalize(parts.normalizer, std::move(text)); };
  parts.added = AddedTokens(std::move(tokens), normalize_text);
  return parts;
}

}  // namespace nightreel::text
