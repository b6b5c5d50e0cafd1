#include "nightreel/weights/original_names.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <string_view>

namespace nightreel::weights {

namespace {

constexpr const char* kVision = "vision_model.";  // transformers 4's prefix, which published folders have

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || c == '_' || is_digit(c);
}

/// What the wildcards of `pattern` stand for in `name`, in their order; nothing where it does not fit.
std::optional<std::vector<std::string>> match(std::string_view pattern, std::string_view name) {
  std::vector<std::string> found;
  std::size_t at = 0;
  for (const char c : pattern) {
    if (c == '#' || c == '*') {
      std::size_t end = at;
      while (end < name.size() && (c == '#' ? is_digit(name[end]) : is_word(name[end]))) ++end;
      if (end == at) return std::nullopt;
      found.emplace_back(name.substr(at, end - at));
      at = end;
    } else {
      if (at >= name.size() || name[at] != c) return std::nullopt;
      ++at;
    }
  }
  return at == name.size() ? std::optional(found) : std::nullopt;
}

std::string fill(std::string_view pattern, const std::vector<std::string>& wildcards) {
  std::string name;
  std::size_t next = 0;
  for (const char c : pattern) {
    if (c == '#' || c == '*') {
      name += wildcards[next++];
    } else {
      name += c;
    }
  }
  return name;
}

bool has_leading_one(const std::string& component, const std::string& original) {
  return component == "image_encoder" && (original == "visual.cls_embedding" || original == "visual.pos_embedding");
}

}  // namespace

OriginalNames::OriginalNames(const std::string& folder)
    : component_(std::filesystem::path(folder).filename().string()) {
  if (component_ == "transformer" || component_ == "transformer_2") add_transformer();
  if (component_ == "text_encoder") add_text_encoder();
  if (component_ == "image_encoder") add_image_encoder();
  if (component_ == "vae") add_vae(card::read_vae_config(folder));
}

void OriginalNames::add(const std::string& original, const std::string& diffusers) {
  rules_.push_back({original, {diffusers}});
}

void OriginalNames::add_transformer() {
  add("patch_embedding.*", "patch_embedding.*");
  const std::string embedder = "condition_embedder.";
  add("time_embedding.0.*", embedder + "time_embedder.linear_1.*");
  add("time_embedding.2.*", embedder + "time_embedder.linear_2.*");
  add("text_embedding.0.*", embedder + "text_embedder.linear_1.*");
  add("text_embedding.2.*", embedder + "text_embedder.linear_2.*");
  add("time_projection.1.*", embedder + "time_proj.*");
  add("img_emb.proj.0.*", embedder + "image_embedder.norm1.*");
  add("img_emb.proj.1.*", embedder + "image_embedder.ff.net.0.proj.*");
  add("img_emb.proj.3.*", embedder + "image_embedder.ff.net.2.*");
  add("img_emb.proj.4.*", embedder + "image_embedder.norm2.*");
  add("img_emb.emb_pos", embedder + "image_embedder.pos_embed");
  add("head.head.*", "proj_out.*");
  add("head.modulation", "scale_shift_table");
  add("blocks.#.modulation", "blocks.#.scale_shift_table");
  add("blocks.#.norm3.*", "blocks.#.norm2.*");  // norm1 and norm2 have no weights in the original
  add("blocks.#.ffn.0.*", "blocks.#.ffn.net.0.proj.*");
  add("blocks.#.ffn.2.*", "blocks.#.ffn.net.2.*");
  for (const auto& [attention, theirs] : {std::pair("self_attn.", "attn1."), std::pair("cross_attn.", "attn2.")}) {
    const std::string from = std::string("blocks.#.") + attention;
    const std::string to = std::string("blocks.#.") + theirs;
    for (const char* which : {"q", "k", "v"}) add(from + which + ".*", to + "to_" + which + ".*");
    add(from + "o.*", to + "to_out.0.*");
    add(from + "norm_q.*", to + "norm_q.*");
    add(from + "norm_k.*", to + "norm_k.*");
  }
  add("blocks.#.cross_attn.k_img.*", "blocks.#.attn2.add_k_proj.*");
  add("blocks.#.cross_attn.v_img.*", "blocks.#.attn2.add_v_proj.*");
  add("blocks.#.cross_attn.norm_k_img.*", "blocks.#.attn2.norm_added_k.*");
}

void OriginalNames::add_text_encoder() {
  add("token_embedding.*", "shared.*");
  add("token_embedding.*", "encoder.embed_tokens.*");  // its other name, of which only the first is made
  add("norm.*", "encoder.final_layer_norm.*");
  const std::string attention = "encoder.block.#.layer.0.";
  const std::string ffn = "encoder.block.#.layer.1.";
  add("blocks.#.norm1.*", attention + "layer_norm.*");
  for (const char* which : {"q", "k", "v", "o"}) {
    add(std::string("blocks.#.attn.") + which + ".*", attention + "SelfAttention." + which + ".*");
  }
  add("blocks.#.pos_embedding.embedding.*", attention + "SelfAttention.relative_attention_bias.*");
  add("blocks.#.norm2.*", ffn + "layer_norm.*");
  add("blocks.#.ffn.gate.0.*", ffn + "DenseReluDense.wi_0.*");
  add("blocks.#.ffn.fc1.*", ffn + "DenseReluDense.wi_1.*");
  add("blocks.#.ffn.fc2.*", ffn + "DenseReluDense.wo.*");
}

void OriginalNames::add_image_encoder() {
  const std::string to = kVision;
  const std::string layer = to + "encoder.layers.#.";
  add("visual.cls_embedding", to + "embeddings.class_embedding");
  add("visual.pos_embedding", to + "embeddings.position_embedding.weight");
  add("visual.patch_embedding.*", to + "embeddings.patch_embedding.*");
  add("visual.pre_norm.*", to + "pre_layrnorm.*");
  add("visual.post_norm.*", to + "post_layernorm.*");
  const std::string from = "visual.transformer.#.";
  add(from + "norm1.*", layer + "layer_norm1.*");
  add(from + "norm2.*", layer + "layer_norm2.*");
  const std::string attention = layer + "self_attn.";
  rules_.push_back({from + "attn.to_qkv.*", {attention + "q_proj.*", attention + "k_proj.*", attention + "v_proj.*"}});
  add(from + "attn.proj.*", attention + "out_proj.*");
  add(from + "mlp.0.*", layer + "mlp.fc1.*");
  add(from + "mlp.2.*", layer + "mlp.fc2.*");
}

void OriginalNames::add_residual_block(const std::string& original, const std::string& diffusers) {
  add(original + ".residual.0.*", diffusers + ".norm1.*");
  add(original + ".residual.2.*", diffusers + ".conv1.*");
  add(original + ".residual.3.*", diffusers + ".norm2.*");
  add(original + ".residual.6.*", diffusers + ".conv2.*");
  add(original + ".shortcut.*", diffusers + ".conv_shortcut.*");
}

void OriginalNames::add_resample(const std::string& original, const std::string& diffusers) {
  add(original + ".resample.1.*", diffusers + ".resample.1.*");
  add(original + ".time_conv.*", diffusers + ".time_conv.*");
}

void OriginalNames::add_vae(const card::VaeConfig& config) {
  add("conv1.*", "quant_conv.*");
  add("conv2.*", "post_quant_conv.*");
  for (const std::string half : {"encoder.", "decoder."}) {
    add(half + "conv1.*", half + "conv_in.*");
    add_residual_block(half + "middle.0", half + "mid_block.resnets.0");
    add_residual_block(half + "middle.2", half + "mid_block.resnets.1");
    for (const char* part : {"norm", "to_qkv", "proj"}) {
      add(half + "middle.1." + part + ".*", half + "mid_block.attentions.0." + part + ".*");
    }
    add(half + "head.0.*", half + "norm_out.*");
    add(half + "head.2.*", half + "conv_out.*");
  }
  add_vae_stages(config.dim_mult.size(), static_cast<std::size_t>(config.num_res_blocks), config.is_residual);
}

/// A stage of the Wan 2.1 VAE is a run of one flat list, of the Wan 2.2 VAE a list of its own.
void OriginalNames::add_vae_stages(std::size_t stages, std::size_t blocks, bool residual) {
  const auto numbered = [](const std::string& name, std::size_t i) { return name + "." + std::to_string(i); };
  if (!residual) {  // there Diffusers kept the encoder's list as it is
    add_residual_block("encoder.downsamples.#", "encoder.down_blocks.#");
    add_resample("encoder.downsamples.#", "encoder.down_blocks.#");
  }
  for (std::size_t stage = 0; stage < stages; ++stage) {
    const std::string down = numbered("encoder.downsamples", stage);
    const std::string down_to = numbered("encoder.down_blocks", stage);
    for (std::size_t i = 0; residual && i < blocks; ++i) {
      add_residual_block(numbered(down + ".downsamples", i), numbered(down_to + ".resnets", i));
    }
    if (residual) add_resample(numbered(down + ".downsamples", blocks), down_to + ".downsampler");
    const std::string up_to = numbered("decoder.up_blocks", stage);
    const auto up = [&](std::size_t i) {
      return residual ? numbered(numbered("decoder.upsamples", stage) + ".upsamples", i)
                      : numbered("decoder.upsamples", stage * (blocks + 2) + i);
    };
    for (std::size_t i = 0; i <= blocks; ++i) add_residual_block(up(i), numbered(up_to + ".resnets", i));
    add_resample(up(blocks + 1), up_to + (residual ? ".upsampler" : ".upsamplers.0"));
  }
}

std::vector<std::string> OriginalNames::diffusers(const std::string& original) const {
  for (const Rule& rule : rules_) {
    const auto found = match(rule.original, original);
    if (!found) continue;
    std::vector<std::string> names;
    for (const std::string& pattern : rule.diffusers) names.push_back(fill(pattern, *found));
    return names;
  }
  const bool elsewhere = original.rfind("textual.", 0) == 0 || original == "log_scale" || original == "visual.head";
  if (component_ == "image_encoder" && elsewhere) return {};
  return {original};
}

OriginalNames::Place OriginalNames::original(const std::string& given) const {
  const bool bare = component_ == "image_encoder" && given.rfind(kVision, 0) != 0;
  const std::string name = bare ? kVision + given : given;
  for (const Rule& rule : rules_) {
    for (std::size_t part = 0; part < rule.diffusers.size(); ++part) {
      if (const auto found = match(rule.diffusers[part], name)) {
        return {fill(rule.original, *found), part, rule.diffusers.size()};
      }
    }
  }
  return {given};
}

std::vector<std::int64_t> OriginalNames::diffusers_shape(const std::string& component, const std::string& original,
                                                         std::vector<std::int64_t> shape) {
  if (has_leading_one(component, original) && shape.size() > 1 && shape[0] == 1) {
    shape.erase(shape.begin());
    // The class embedding is [1, 1, D] there and [D] here, the positions [1, T, D] and [T, D].
    if (original == "visual.cls_embedding" && shape.size() > 1 && shape[0] == 1) shape.erase(shape.begin());
  }
  return shape;
}

std::vector<std::int64_t> OriginalNames::original_shape(const std::string& component, const std::string& original,
                                                        std::vector<std::int64_t> shape) {
  while (has_leading_one(component, original) && shape.size() < 3) shape.insert(shape.begin(), 1);
  return shape;
}

}  // namespace nightreel::weights
