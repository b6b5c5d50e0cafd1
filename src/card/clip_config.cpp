// image_encoder/config.json and image_processor/preprocessor_config.json: what they may say, and what this version does
// not have.
#include <algorithm>

#include "card/housekeeping.h"
#include "nightreel/base/error.h"
#include "nightreel/card/configs.h"

namespace nightreel::card {

ClipVisionConfig parse_clip_vision_config(const base::Json& config, const std::string& path) {
  ConfigReader read(config, path);
  ClipVisionConfig parsed;
  read.require("model_type", "clip_vision_model", "only clip_vision_model is");
  read.require("num_channels", 3, "only 3 is");
  parsed.hidden_size = read.integer("hidden_size", parsed.hidden_size);
  parsed.intermediate_size = read.integer("intermediate_size", parsed.intermediate_size);
  parsed.num_hidden_layers = read.integer("num_hidden_layers", parsed.num_hidden_layers, 1000);
  parsed.num_attention_heads = read.integer("num_attention_heads", parsed.num_attention_heads, 1 << 14);
  parsed.image_size = read.integer("image_size", parsed.image_size, 1 << 14);
  parsed.patch_size = read.integer("patch_size", parsed.patch_size, 1 << 14);
  parsed.layer_norm_eps = read.fraction("layer_norm_eps", parsed.layer_norm_eps);
  const base::Json act = read.value("hidden_act");
  if (!act.is_null() && act != "quick_gelu" && act != "gelu") {
    read.refuse("hidden_act", base::printable(base::dump_json(act)) + " is not supported; quick_gelu and gelu are");
  }
  parsed.quick_gelu = act != "gelu";
  if (parsed.hidden_size % parsed.num_attention_heads != 0) {
    read.refuse("num_attention_heads", "does not divide hidden_size");
  }
  if (parsed.image_size < parsed.patch_size) read.refuse("patch_size", "is larger than image_size");
  // What training and the projection need.
  read.ignore({"attention_dropout", "dropout", "initializer_factor", "initializer_range", "projection_dim"});
  ignore_housekeeping(read);
  read.refuse_unknown();
  return parsed;
}

ClipPictureConfig parse_clip_picture_config(const base::Json& config, const std::string& path) {
  ConfigReader read(config, path);
  ClipPictureConfig parsed;
  for (const char* key : {"do_center_crop", "do_convert_rgb", "do_normalize", "do_rescale", "do_resize"}) {
    read.require(key, true, "only true is");
  }
  read.require("rescale_factor", 1.0 / 255, "only 1/255 is");
  read.require("resample", 3, "only 3, Pillow's bicubic filter, is");
  const auto side = [&](const char* key, const char* field, std::int64_t fallback) {
    const base::Json entry = read.value(key);
    if (entry.is_null()) return fallback;
    if (!entry.is_object() || !entry.contains(field)) read.refuse(key, std::string("must say its ") + field);
    return read.check_integer(key, entry.at(field), 1, 1 << 14);
  };
  parsed.shortest_edge = side("size", "shortest_edge", parsed.shortest_edge);
  parsed.crop = side("crop_size", "height", parsed.crop);
  if (side("crop_size", "width", parsed.crop) != parsed.crop) read.refuse("crop_size", "must be a square");
  if (parsed.crop > parsed.shortest_edge) read.refuse("crop_size", "is larger than size");
  const auto colours = [&](const char* key, std::array<double, 3>& values) {
    const std::vector<double> given = read.numbers(key, {values.begin(), values.end()});
    if (given.size() != 3) read.refuse(key, "must be three numbers");
    std::copy(given.begin(), given.end(), values.begin());
  };
  colours("image_mean", parsed.mean);
  colours("image_std", parsed.std);
  for (const double std : parsed.std) {
    if (std <= 0) read.refuse("image_std", "must be above 0");
  }
  // Of whose class it is, and how arrays come in and go out, which is this program's own affair.
  read.ignore({"image_processor_type", "feature_extractor_type", "processor_class", "data_format", "input_data_format",
               "default_to_square", "device", "disable_grouping", "return_tensors"});
  read.refuse_unknown();
  return parsed;
}

base::Json to_json(const ClipVisionConfig& config) {
  return {{"hidden_size", config.hidden_size},
          {"intermediate_size", config.intermediate_size},
          {"num_hidden_layers", config.num_hidden_layers},
          {"num_attention_heads", config.num_attention_heads},
          {"image_size", config.image_size},
          {"patch_size", config.patch_size},
          {"hidden_act", config.quick_gelu ? "quick_gelu" : "gelu"},
          {"layer_norm_eps", config.layer_norm_eps}};
}

}  // namespace nightreel::card
