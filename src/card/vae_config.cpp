// vae/config.json: what it may say, and what this version does not have.
#include <algorithm>

#include "card/config_reader.h"
#include "nightreel/card/configs.h"

namespace nightreel::card {

namespace {

constexpr std::int64_t kTemporalFactor = 4;  // of pixels, for each latent frame after the first
constexpr std::size_t kMaxStages = 8;

/// A pixel's three colours, for each cell of the layers.
void check_colours(ConfigReader& read, const VaeConfig& parsed) {
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

/// The pipeline believes scale_factor_*, the layers do what dim_mult, patch_size and temperal_downsample say: they must
/// agree.
void check_scales(const ConfigReader& read, const VaeConfig& parsed) {
  const std::size_t stages = parsed.dim_mult.size();
  if (stages > kMaxStages) read.refuse("dim_mult", "a list is needed of 1 to 8 numbers");
  const std::int64_t spatial = (std::int64_t{1} << (stages - 1)) * parsed.patch_size;
  const auto halvings = std::count(parsed.temperal_downsample.begin(), parsed.temperal_downsample.end(), true);
  const std::int64_t temporal = std::int64_t{1} << std::min<std::int64_t>(halvings, kMaxStages);
  const auto differs = [&](const char* field, std::int64_t is, const char* why, std::int64_t wanted) {
    if (is != wanted) read.refuse(field, "is " + std::to_string(is) + ", but " + why + std::to_string(wanted));
  };
  differs("scale_factor_spatial", parsed.scale_factor_spatial, "dim_mult and patch_size make it ", spatial);
  differs("scale_factor_temporal", parsed.scale_factor_temporal, "temperal_downsample makes it ", temporal);
  if (temporal != kTemporalFactor) {
    read.refuse("temperal_downsample", "only two true entries with scale_factor_temporal 4 are supported");
  }
  if (parsed.temperal_downsample.size() != stages - 1) {
    read.refuse("temperal_downsample", "must have one entry less than dim_mult");
  }
}

void check_widths(const ConfigReader& read, const VaeConfig& parsed) {
  if (parsed.is_residual) return check_shortcuts(read, parsed);
  for (std::size_t i = 1; i < parsed.dim_mult.size(); ++i) {
    if (parsed.decoder_base_dim * parsed.dim_mult[i] % 2 != 0)
      read.refuse("dim_mult", "makes an odd width to be halved");
  }
}

void check_latents(const ConfigReader& read, const VaeConfig& parsed) {
  const auto channels = static_cast<std::size_t>(parsed.z_dim);
  if (parsed.latents_mean.size() != channels) read.refuse("latents_mean", "must have z_dim numbers");
  if (parsed.latents_std.size() != channels) read.refuse("latents_std", "must have z_dim numbers");
  for (const double std : parsed.latents_std) {
    if (std <= 0) read.refuse("latents_std", "must be above 0");
  }
}

}  // namespace

VaeConfig parse_vae_config(const base::Json& config, const std::string& path) {
  ConfigReader read(config, path);
  VaeConfig parsed;
  read.require("_class_name", "AutoencoderKLWan", "only AutoencoderKLWan is");
  parsed.is_residual = read.boolean("is_residual", parsed.is_residual);
  parsed.patch_size = read.integer("patch_size", parsed.patch_size, 8);
  parsed.base_dim = read.integer("base_dim", parsed.base_dim, 1 << 14);
  parsed.decoder_base_dim = read.integer("decoder_base_dim", parsed.base_dim, 1 << 14);
  parsed.z_dim = read.integer("z_dim", parsed.z_dim, 1 << 14);
  parsed.dim_mult = read.integers("dim_mult", parsed.dim_mult, 1 << 10);
  parsed.num_res_blocks = read.integer("num_res_blocks", parsed.num_res_blocks, 64);
  parsed.temperal_downsample = read.booleans("temperal_downsample", parsed.temperal_downsample);
  parsed.scale_factor_temporal = read.integer("scale_factor_temporal", parsed.scale_factor_temporal, 64);
  parsed.scale_factor_spatial = read.integer("scale_factor_spatial", parsed.scale_factor_spatial, 256);
  check_scales(read, parsed);
  check_colours(read, parsed);
  parsed.latents_mean = read.numbers("latents_mean", parsed.latents_mean);
  parsed.latents_std = read.numbers("latents_std", parsed.latents_std);
  read.require("attn_scales", base::Json::array(), "only an empty list is");  // diffusers itself cannot run others
  read.ignore({"dropout", "clip_output"});  // the latter is in the published 5B folder; diffusers always clips
  read.refuse_unknown();
  check_widths(read, parsed);
  check_latents(read, parsed);
  return parsed;
}

base::Json to_json(const VaeConfig& config) {
  return {{"base_dim", config.base_dim},
          {"decoder_base_dim", config.decoder_base_dim},
          {"z_dim", config.z_dim},
          {"dim_mult", config.dim_mult},
          {"num_res_blocks", config.num_res_blocks},
          {"temperal_downsample", config.temperal_downsample},
          {"latents_mean", config.latents_mean},
          {"latents_std", config.latents_std},
          {"scale_factor_temporal", config.scale_factor_temporal},
          {"scale_factor_spatial", config.scale_factor_spatial},
          {"is_residual", config.is_residual},
          {"patch_size", config.patch_size},
          {"in_channels", config.cell_channels()},
          {"out_channels", config.cell_channels()}};
}

}  // namespace nightreel::card
