#include "nightreel/memory/modules.h"

#include "memory/lengths.h"
#include "nightreel/card/card.h"

namespace nightreel::memory {
namespace {

// Of one layer: both gates of the feed-forward in float32, queries, keys and values, the scores with their bias.
std::uint64_t layer_bytes(std::int64_t tokens, std::int64_t width, std::int64_t ffn_dim, std::int64_t heads) {
  const std::int64_t rows = tokens * (8 * width + 3 * ffn_dim);
  const std::int64_t scores = 3 * heads * tokens * tokens;
  return unsigned_of((rows + scores) * kFloat);
}

}  // namespace

std::uint64_t text_encoder_bytes(const MemoryModel& model) {
  if (!model.text) return 0;
  return layer_bytes(card::kTextLen, model.text->d_model, model.text->d_ff, model.text->num_heads);
}

std::uint64_t image_encoder_bytes(const MemoryModel& model) {
  if (!model.clip) return 0;
  const card::ClipVisionConfig& c = *model.clip;
  return layer_bytes(c.tokens(), c.hidden_size, c.intermediate_size, c.num_attention_heads);
}

}  // namespace nightreel::memory
