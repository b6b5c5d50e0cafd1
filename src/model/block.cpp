// B batch, S tokens, D width.
#include "nightreel/model/block.h"

#include <ATen/ATen.h>

#include "model/modulation.h"
#include "nightreel/ops/norm.h"

namespace nightreel::model {

namespace {

enum Row : std::size_t { kShift, kScale, kGate, kFfnShift, kFfnScale, kFfnGate };  // of the modulation table

}  // namespace

Block::Block(const card::TransformerConfig& config)
    : width_(config.width()),
      eps_(config.eps),
      has_cross_norm_(config.cross_attn_norm),
      self_attention_(config),
      cross_attention_(config),
      feed_forward_(config) {}

void Block::parameters(const std::string& name, ParameterList& list) {
  list.tensor_f32(table_16D_, name + "scale_shift_table", {1, 6, width_});
  self_attention_.parameters(name + "attn1.", list);
  cross_attention_.parameters(name + "attn2.", list);
  if (has_cross_norm_) {
    list.tensor_f32(cross_norm_weight_D_, name + "norm2.weight", {width_});
    list.tensor_f32(cross_norm_bias_D_, name + "norm2.bias", {width_});
  }
  feed_forward_.parameters(name + "ffn.", list);
}

at::Tensor Block::forward(at::Tensor x_BSD, const TimeEmbeddings& times, const Contexts& contexts, const Tokens& tokens,
                          const std::function<void()>& when_alone) const {
  Modulation modulation;
  for (const TimeEmbedding& time : times) {
    modulation.push_back({time.tokens, (table_16D_ + time.modulation_B6D).unbind(1)});
  }
  // Of a long video each of these tensors is most of a gigabyte: what a step has made is gone before the next.
  x_BSD = attend_to_each_other(std::move(x_BSD), modulation, tokens);
  if (when_alone) when_alone();

  // Prompts that share latents and time step are told apart by the contexts: up to here, once for all.
  const std::int64_t prompts = contexts.at(0).rows_BTD.size(0);
  if (x_BSD.size(0) != prompts) x_BSD = x_BSD.expand({prompts, -1, -1}).contiguous();
  x_BSD.add_(cross_attention_.forward(make_ready(norm_for_contexts(x_BSD), cross_attention_.input_form()), contexts));
  return feed_forward(std::move(x_BSD), modulation);
}

at::Tensor Block::attend_to_each_other(at::Tensor x_BSD, const Modulation& modulation, const Tokens& tokens) const {
  const at::Tensor more_BSD = self_attention_.forward(
      make_ready(modulated_norm(modulation, x_BSD, {kScale, kShift}, eps_), self_attention_.input_form()), tokens);
  return gated_add(modulation, std::move(x_BSD), more_BSD, kGate);
}

at::Tensor Block::feed_forward(at::Tensor x_BSD, const Modulation& modulation) const {
  const at::Tensor more_BSD = feed_forward_.forward(
      make_ready(modulated_norm(modulation, x_BSD, {kFfnScale, kFfnShift}, eps_), feed_forward_.input_form()));
  return gated_add(modulation, std::move(x_BSD), more_BSD, kFfnGate);
}

at::Tensor Block::norm_for_contexts(const at::Tensor& x_BSD) const {
  return has_cross_norm_ ? ops::layer_norm(x_BSD, cross_norm_weight_D_, cross_norm_bias_D_, eps_) : x_BSD;
}

}  // namespace nightreel::model
