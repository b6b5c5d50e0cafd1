// B batch, S tokens, T rows of a context, D width, H heads, K size of a head.
#include "nightreel/model/attention.h"

#include <ATen/ATen.h>

#include "nightreel/ops/attention.h"
#include "nightreel/ops/norm.h"
#include "nightreel/ops/rotary.h"

namespace nightreel::model {

namespace {

at::Tensor split_heads(const at::Tensor& x_BSD, const HeadShape& shape) {
  return x_BSD.unflatten(-1, {shape.heads, shape.size});
}

/// Queries or keys: normed across all heads, then split.
at::Tensor normed_heads(const at::Tensor& x_BSD, const at::Tensor& weight_D, const HeadShape& shape) {
  return split_heads(ops::rms_norm(x_BSD, weight_D, shape.eps), shape);
}

}  // namespace

void SelfAttention::parameters(const std::string& name, ParameterList& list) {
  const std::int64_t width = shape_.width();
  list.fused(qkv_, name, {"to_q", "to_k", "to_v"}, width, width);
  list.linear(out_, name + "to_out.0", width, width);
  list.tensor(norm_q_D_, name + "norm_q.weight", {width});
  list.tensor(norm_k_D_, name + "norm_k.weight", {width});
}

at::Tensor SelfAttention::forward(ReadyInput x_BSD, const Tokens& tokens) const {
  const std::vector<at::Tensor> qkv_BSD = qkv_(x_BSD).chunk(3, -1);
  x_BSD = {};
  const auto turned = [&](const at::Tensor& part_BSD, const at::Tensor& norm_D) {
    return ops::apply_rotary(normed_heads(part_BSD, norm_D, shape_), tokens.rotary_SP2);
  };
  const at::Tensor q_BSHK = turned(qkv_BSD[0], norm_q_D_);
  const at::Tensor k_BSHK = turned(qkv_BSD[1], norm_k_D_);
  const at::Tensor mixed_BSHK = tokens.group.attention(q_BSHK, k_BSHK, split_heads(qkv_BSD[2], shape_), tokens.share);
  return out_(mixed_BSHK.flatten(2));
}

CrossAttention::CrossAttention(const card::TransformerConfig& config) : shape_(config) {
  projections_.push_back({{"to_k", "to_v"}, "norm_k.weight"});
  if (config.image_dim > 0) projections_.push_back({{"add_k_proj", "add_v_proj"}, "norm_added_k.weight"});
}

void CrossAttention::parameters(const std::string& name, ParameterList& list) {
  const std::int64_t width = shape_.width();
  list.linear(q_, name + "to_q", width, width);
  for (Projection& p : projections_) list.fused(p.key_value, name, p.names, width, width);
  list.linear(out_, name + "to_out.0", width, width);
  list.tensor(norm_q_D_, name + "norm_q.weight", {width});
  for (Projection& p : projections_) list.tensor(p.norm_k_D, name + p.norm_name, {width});
  // In the files of a model that is told by pictures, and used by nobody.
  if (projections_.size() > 1) list.stray(name + "norm_added_q.weight");
}

Contexts CrossAttention::with_keys(Contexts contexts) const {
  for (std::size_t i = 0; i < contexts.size(); ++i) {
    const auto [keys_BTHK, values_BTHK] = keys_and_values(projections_.at(i), contexts[i].rows_BTD);
    contexts[i].keys_BTHK = keys_BTHK.contiguous();
    contexts[i].values_BTHK = values_BTHK.contiguous();
  }
  return contexts;
}

at::Tensor CrossAttention::forward(ReadyInput x_BSD, const Contexts& contexts) const {
  const at::Tensor q_BSHK = normed_heads(q_(x_BSD), norm_q_D_, shape_);
  x_BSD = {};
  at::Tensor mixed_BSHK;
  for (std::size_t i = 0; i < contexts.size(); ++i) {
    const at::Tensor more_BSHK = attend(i, q_BSHK, contexts[i]);
    mixed_BSHK = mixed_BSHK.defined() ? mixed_BSHK + more_BSHK : more_BSHK;
  }
  return out_(mixed_BSHK.flatten(2));
}

std::array<at::Tensor, 2> CrossAttention::keys_and_values(const Projection& projection,
                                                          const at::Tensor& rows_BTD) const {
  const std::vector<at::Tensor> kv_BTD = projection.key_value(rows_BTD).chunk(2, -1);
  return {normed_heads(kv_BTD[0], projection.norm_k_D, shape_), split_heads(kv_BTD[1], shape_)};
}

at::Tensor CrossAttention::attend(std::size_t index, const at::Tensor& q_BSHK, const Context& context) const {
  std::array<at::Tensor, 2> kv_BTHK{context.keys_BTHK, context.values_BTHK};
  if (!context.keys_BTHK.defined()) kv_BTHK = keys_and_values(projections_.at(index), context.rows_BTD);
  for (at::Tensor& part : kv_BTHK) part = part.expand({q_BSHK.size(0), -1, -1, -1});
  return ops::attention(q_BSHK, kv_BTHK[0], kv_BTHK[1], context.bias_T);
}

}  // namespace nightreel::model
