#include "text/spiece.h"

#include <bit>
#include <cmath>

#include "nightreel/base/error.h"
#include "text/unicode.h"

namespace nightreel::text {
namespace {

// Field numbers of ModelProto, SentencePiece, TrainerSpec and NormalizerSpec.
constexpr std::uint64_t kModelPiece = 1, kModelTrainer = 2, kModelNormalizer = 3;
constexpr std::uint64_t kPieceText = 1, kPieceScore = 2, kPieceType = 3;
constexpr std::uint64_t kTrainerModelType = 3;
constexpr std::uint64_t kNormalizerCharsmap = 2;
constexpr std::uint64_t kUnigram = 1;

[[noreturn]] void fail_spiece(const std::string& what) {
  throw base::Error(base::ErrorKind::model, "not a SentencePiece model: " + what);
}

enum class Wire : std::uint64_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

struct Field {
  std::uint64_t number = 0;
  Wire wire = Wire::varint;
  std::uint64_t value = 0;  // varint, fixed32
  std::string_view bytes;
};

// Steps through the fields of one protocol buffer message.
class FieldReader {
 public:
  explicit FieldReader(std::string_view message) : rest_(message) {}

  bool next(Field& field) {
    if (rest_.empty()) return false;
    const std::uint64_t tag = varint();
    field = {tag >> 3U, static_cast<Wire>(tag & 7U), 0, {}};
    switch (field.wire) {
      case Wire::varint:
        field.value = varint();
        return true;
      case Wire::fixed64:
        take(8);
        return true;
      case Wire::bytes:
        field.bytes = take(varint());
        return true;
      case Wire::fixed32:
        for (const std::string_view raw = take(4); std::size_t i : {3U, 2U, 1U, 0U}) {
          field.value = (field.value << 8U) | static_cast<unsigned char>(raw[i]);
        }
        return true;
    }
    fail_spiece("a field of wire type " + std::to_string(tag & 7U));
  }

 private:
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1)[0]);
      value |= static_cast<std::uint64_t>(byte & 0x7FU) << shift;
      if (byte < 0x80) return value;
    }
    fail_spiece("a number of more than ten bytes");
  }

  std::string_view take(std::uint64_t size) {
    if (size > rest_.size()) fail_spiece("it ends inside a field");
    const std::string_view taken = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return taken;
  }

  std::string_view rest_;
};

void expect(const Field& field, Wire wire, const char* name) {
  if (field.wire != wire) fail_spiece(std::string(name) + " has another type");
}

void check_utf8(std::string_view text) {
  char32_t c = 0;
  for (std::size_t i = 0; i < text.size();) {
    if (!next_character(text, i, c)) fail_spiece("a piece is not UTF-8");
  }
}

void read_piece(std::string_view message, SpieceModel& model) {
  Piece piece{{}, 0};
  std::uint64_t type = static_cast<std::uint64_t>(SpieceModel::Type::normal);
  FieldReader fields(message);
  for (Field field; fields.next(field);) {
    if (field.number == kPieceText) {
      expect(field, Wire::bytes, "piece");
      piece.text = field.bytes;
    } else if (field.number == kPieceScore) {
      expect(field, Wire::fixed32, "score");
      piece.score = std::bit_cast<float>(static_cast<std::uint32_t>(field.value));
    } else if (field.number == kPieceType) {
      expect(field, Wire::varint, "type");
      type = field.value;
    }
  }
  check_utf8(piece.text);
  if (!std::isfinite(piece.score)) fail_spiece("the score of a piece is not a finite number");
  if (type < 1 || type > 6) fail_spiece("a piece of type " + std::to_string(type));
  model.pieces.push_back(std::move(piece));
  model.types.push_back(static_cast<SpieceModel::Type>(type));
}

void read_trainer(std::string_view message) {
  FieldReader fields(message);
  for (Field field; fields.next(field);) {
    if (field.number != kTrainerModelType) continue;
    expect(field, Wire::varint, "model_type");
    if (field.value != kUnigram) {
      throw base::Error(base::ErrorKind::model, "model_type " + std::to_string(field.value) +
                                                    " (2 BPE, 3 word, 4 character): only Unigram (1) is known");
    }
  }
}

void read_normalizer(std::string_view message, SpieceModel& model) {
  FieldReader fields(message);
  for (Field field; fields.next(field);) {
    if (field.number != kNormalizerCharsmap) continue;
    expect(field, Wire::bytes, "precompiled_charsmap");
    model.charsmap = field.bytes;
  }
}

}  // namespace

SpieceModel parse_spiece(std::string_view bytes) {
  SpieceModel model;
  FieldReader fields(bytes);
  for (Field field; fields.next(field);) {
    if (field.number < kModelPiece || field.number > kModelNormalizer) continue;
    expect(field, Wire::bytes, "a part of the model");
    if (field.number == kModelPiece) read_piece(field.bytes, model);
    if (field.number == kModelTrainer) read_trainer(field.bytes);
    if (field.number == kModelNormalizer) read_normalizer(field.bytes, model);
  }
  if (model.pieces.empty()) fail_spiece("it has no pieces");
  return model;
}

}  // namespace nightreel::text
