// vae/config.json: what it may say, and what this version does not have.
#include <algorithm>

#include "card/config_reader.h"
#include "nightreel/model/vae.h"

namespace nightreel::model {

namespace {

constexpr std::int64_t kTemporalFactor = 4;  // of pixels, for each latent frame after the first

const std::vector<double> kWanMean{-0.7571, -0.7089, -0.9113, 0.1075,  -0.1745, 0.9653,  -0.1517, 1.5508,
                                   0.4134,  -0.0715, 0.5517,  -0.3632, -0.1922, -0.9497, 0.2503,  -0.2921};
const std::vector<double> kWanStd{2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743,
                                  3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160};

/// What the Wan 2.2 VAE has and the Wan 2.1 VAE has not.
void read_wan22(ConfigReader& read, VaeConfig& parsed) {
  parsed.is_residual = read.boolean("is_residual", false);
  parsed.patch_size = read.integer("patch_size", 1, 8);
  for (const char* key : {"in_channels", "out_channels"}) {
    if (read.integer(key, 3) == parsed.cell_channels()) continue;
    read.refuse(key, "must be 3 * patch_size², " + std::to_string(parsed.cell_channels()));
  }
}

/// The shortcuts average and repeat channels in whole groups (diffusers' AvgDown3D and DupUp3D).
void check_shortcuts(const ConfigReader& read, const VaeConfig& parsed) {
  const auto& mult = parsed.dim_mult;
  const auto check = [&](std::int64_t many, std::int64_t few) {
    if (many % few != 0) read.refuse("dim_mult", "makes widths between which the shortcuts cannot go");
  };
  for (std::size_t i = 0; i < mult.size(); ++i) {
    const std::int64_t before = i == 0 ? 1 : mult[i - 1];
    if (i + 1 == mult.size()) return check(before, mult[i]);
    const std::int64_t factor = parsed.temperal_downsample[i] ? 8 : 4;
    check(before * factor, mult[i]);
    // The decoder's stage between the same frame sizes.
    check(mult[i + 1] * factor, i + 2 < mult.size() ? mult[i + 2] : mult[i + 1]);
  }
}

void check_scales(const ConfigReader& read, const VaeConfig& parsed) {
  const std::size_t stages = parsed.dim_mult.size();
  if (stages < 1 || stages > 8) read.refuse("dim_mult", "must have 1 to 8 numbers");
  if (parsed.temperal_downsample.size() != stages - 1) {
    read.refuse("temperal_downsample", "must have one entry less than dim_mult");
  }
  if (parsed.scale_factor_spatial != (std::int64_t{1} << (stages - 1)) * parsed.patch_size) {
    read.refuse("scale_factor_spatial", "does not follow from the length of dim_mult and patch_size");
  }
  const auto halvings = std::count(parsed.temperal_downsample.begin(), parsed.temperal_downsample.end(), true);
  if (halvings != 2 || parsed.scale_factor_temporal != kTemporalFactor) {
    read.refuse("temperal_downsample", "only two true entries with scale_factor_temporal 4 are supported");
  }
  if (parsed.is_residual) return check_shortcuts(read, parsed);
  for (std::size_t i = 1; i < stages; ++i) {
    if (parsed.decoder_base_dim * parsed.dim_mult[i] % 2 != 0)
      read.refuse("dim_mult", "makes an odd width to be halved");
  }
}

}  // namespace

VaeConfig parse_vae_config(const nlohmann::json& config, const std::string& path) {
  ConfigReader read(config, path);
  VaeConfig parsed;
  read.require("_class_name", "AutoencoderKLWan", "only AutoencoderKLWan is");
  read_wan22(read, parsed);
  parsed.base_dim = read.integer("base_dim", parsed.base_dim, 1 << 14);
  parsed.decoder_base_dim = read.integer("decoder_base_dim", parsed.base_dim, 1 << 14);
  parsed.z_dim = read.integer("z_dim", parsed.z_dim, 1 << 14);
  parsed.dim_mult = read.integers("dim_mult", parsed.dim_mult, 1 << 10);
  parsed.num_res_blocks = read.integer("num_res_blocks", parsed.num_res_blocks, 64);
  parsed.temperal_downsample = read.booleans("temperal_downsample", parsed.temperal_downsample);
  parsed.scale_factor_temporal = read.integer("scale_factor_temporal", parsed.scale_factor_temporal, 64);
  parsed.scale_factor_spatial = read.integer("scale_factor_spatial", parsed.scale_factor_spatial, 256);
  parsed.latents_mean = read.numbers("latents_mean", kWanMean);
  parsed.latents_std = read.numbers("latents_std", kWanStd);
  read.require("attn_scales", nlohmann::json::array(), "only an empty list is");  // diffusers itself cannot run others
  read.ignore({"dropout", "clip_output"});  // the latter is in the published 5B folder; diffusers always clips
  read.refuse_unknown();
  check_scales(read, parsed);
  const auto channels = static_cast<std::size_t>(parsed.z_dim);
  if (parsed.latents_mean.size() != channels) read.refuse("latents_mean", "must have z_dim numbers");
  if (parsed.latents_std.size() != channels) read.refuse("latents_std", "must have z_dim numbers");
  for (const double std : parsed.latents_std) {
    if (std <= 0) read.refuse("latents_std", "must be above 0");
  }
  return parsed;
}

}  // namespace nightreel::model
