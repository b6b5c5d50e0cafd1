// Small checkpoints in Diffusers' layout with random weights, written where they are needed.
//
// Between them they have what the published ones differ in: two experts, pictures as latents, TI2V with the Wan 2.2
// VAE, and CLIP; with the head sizes of the published ones. Plain functions; any thread.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace nightreel::proof {

struct RandomModel {
  std::string name;
  const char* pipeline;  // diffusers' class
  const char* stored;    // the weights' dtype in the files: F32, BF16
  bool two_experts = false;
  bool expand_timesteps = false;
  nlohmann::json text_encoder, transformer, vae;
  nlohmann::json image_encoder;  // null: none
};

const std::vector<RandomModel>& random_models();

/// Writes each model into FOLDER/NAME.
void write_random_models(const std::string& folder);

/// A LoRA of rank 4 for the attentions of the first block of the transformer in `folder`.
void write_random_lora(const std::string& path, const std::string& folder);

}  // namespace nightreel::proof
