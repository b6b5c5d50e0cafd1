#include "card/published_parts.h"

namespace nightreel::card {

using base::Json;

Json published_scheduler(double flow_shift) {
  Json config = base::parse_json(R"({"_class_name": "UniPCMultistepScheduler", "_diffusers_version": "0.35.0",
      "beta_end": 0.02, "beta_schedule": "linear", "beta_start": 0.0001, "disable_corrector": [],
      "dynamic_thresholding_ratio": 0.995, "final_sigmas_type": "zero", "lower_order_final": true,
      "num_train_timesteps": 1000, "predict_x0": true, "prediction_type": "flow_prediction",
      "rescale_betas_zero_snr": false, "sample_max_value": 1.0, "solver_order": 2, "solver_p": null,
      "solver_type": "bh2", "steps_offset": 0, "thresholding": false, "timestep_spacing": "linspace",
      "trained_betas": null, "use_beta_sigmas": false, "use_exponential_sigmas": false, "use_flow_sigmas": true,
      "use_karras_sigmas": false})");
  config["flow_shift"] = flow_shift;
  return config;
}

// wan/modules/vae2_1.py: WanVAE.__init__ and _video_vae.
Json published_vae21() {
  return base::parse_json(R"({"_class_name": "AutoencoderKLWan", "_diffusers_version": "0.35.0", "attn_scales": [],
      "base_dim": 96, "dim_mult": [1, 2, 4, 4], "dropout": 0.0, "num_res_blocks": 2,
      "temperal_downsample": [false, true, true], "z_dim": 16,
      "latents_mean": [-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508, 0.4134, -0.0715, 0.5517,
        -0.3632, -0.1922, -0.9497, 0.2503, -0.2921],
      "latents_std": [2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743, 3.2687, 2.1526, 2.8652, 1.5579,
        1.6382, 1.1253, 2.8251, 1.9160]})");
}

// wan/modules/vae2_2.py: Wan2_2_VAE.__init__ and _video_vae.
Json published_vae22() {
  return base::parse_json(R"({"_class_name": "AutoencoderKLWan", "_diffusers_version": "0.35.0", "attn_scales": [],
      "base_dim": 160, "decoder_base_dim": 256, "dim_mult": [1, 2, 4, 4], "dropout": 0.0, "in_channels": 12,
      "is_residual": true, "num_res_blocks": 2, "out_channels": 12, "patch_size": 2, "scale_factor_spatial": 16,
      "scale_factor_temporal": 4, "temperal_downsample": [false, true, true], "z_dim": 48,
      "latents_mean": [-0.2289, -0.0052, -0.1323, -0.2339, -0.2799, 0.0174, 0.1838, 0.1557, -0.1382, 0.0542, 0.2813,
        0.0891, 0.1570, -0.0098, 0.0375, -0.1825, -0.2246, -0.1207, -0.0698, 0.5109, 0.2665, -0.2108, -0.2158, 0.2502,
        -0.2055, -0.0322, 0.1109, 0.1567, -0.0729, 0.0899, -0.2799, -0.1230, -0.0313, -0.1649, 0.0117, 0.0723, -0.2839,
        -0.2083, -0.0520, 0.3748, 0.0152, 0.1957, 0.1433, -0.2944, 0.3573, -0.0548, -0.1681, -0.0667],
      "latents_std": [0.4765, 1.0364, 0.4514, 1.1677, 0.5313, 0.4990, 0.4818, 0.5013, 0.8158, 1.0344, 0.5894, 1.0901,
        0.6885, 0.6165, 0.8454, 0.4978, 0.5759, 0.3523, 0.7135, 0.6804, 0.5833, 1.4146, 0.8986, 0.5659, 0.7069, 0.5338,
        0.4889, 0.4917, 0.4069, 0.4999, 0.6866, 0.4093, 0.5709, 0.6065, 0.6415, 0.4944, 0.5726, 1.2042, 0.5458, 1.6887,
        0.3971, 1.0600, 0.3943, 0.5537, 0.5444, 0.4089, 0.7468, 0.7744]})");
}

// wan/modules/t5.py: umt5_xxl; what it does not say is google/umt5-xxl's config.json.
Json published_text_encoder() {
  return base::parse_json(R"({"architectures": ["UMT5EncoderModel"], "model_type": "umt5", "classifier_dropout": 0.0,
      "d_ff": 10240, "d_kv": 64, "d_model": 4096, "decoder_start_token_id": 0, "dense_act_fn": "gelu_new",
      "dropout_rate": 0.1, "eos_token_id": 1, "feed_forward_proj": "gated-gelu", "initializer_factor": 1.0,
      "is_encoder_decoder": true, "is_gated_act": true, "layer_norm_epsilon": 1e-06, "num_decoder_layers": 24,
      "num_heads": 64, "num_layers": 24, "output_past": true, "pad_token_id": 0,
      "relative_attention_max_distance": 128, "relative_attention_num_buckets": 32, "scalable_attention": true,
      "tie_word_embeddings": false, "tokenizer_class": "T5Tokenizer", "use_cache": true, "vocab_size": 256384})");
}

// wan/modules/clip.py: clip_xlm_roberta_vit_h_14, its visual half.
Json published_image_encoder() {
  return base::parse_json(R"({"architectures": ["CLIPVisionModel"], "model_type": "clip_vision_model",
      "attention_dropout": 0.0, "hidden_act": "gelu", "hidden_size": 1280, "image_size": 224, "initializer_factor": 1.0,
      "initializer_range": 0.02, "intermediate_size": 5120, "layer_norm_eps": 1e-05, "num_attention_heads": 16,
      "num_channels": 3, "num_hidden_layers": 32, "patch_size": 14, "projection_dim": 1024})");
}

Json published_processor() {
  return base::parse_json(R"({"image_processor_type": "CLIPImageProcessor", "crop_size": {"height": 224, "width": 224},
      "do_center_crop": true, "do_convert_rgb": true, "do_normalize": true, "do_rescale": true, "do_resize": true,
      "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711],
      "resample": 3, "rescale_factor": 0.00392156862745098, "size": {"shortest_edge": 224}})");
}

}  // namespace nightreel::card
