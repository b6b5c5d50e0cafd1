#include "card/model_index.h"

#include "card/config_reader.h"
#include "nightreel/base/error.h"

namespace nightreel::card {
namespace {

using base::Json;
using base::printable;

/// The class that is named for a component, empty where it is [null, null].
std::string class_of(ConfigReader& index, const std::string& component) {
  const Json& entry = index.value(component);
  if (entry.is_null()) return "";
  if (!entry.is_array() || entry.size() != 2 || !(entry[1].is_string() || entry[1].is_null())) {
    index.refuse(component, "[library, class] is needed");
  }
  return entry[1].is_null() ? "" : entry[1].get<std::string>();
}

void require_class(ConfigReader& index, const std::string& component, const std::string& wanted) {
  const std::string given = class_of(index, component);
  if (given.empty()) index.refuse(component, "is missing");
  if (given != wanted) index.refuse(component, printable(given, 60) + " is not supported, only " + wanted);
}

/// diffusers' WanPipeline lets either transformer be null (its _optional_components).
std::vector<std::string> experts_of(ConfigReader& index) {
  std::vector<std::string> experts;
  for (const std::string component : {"transformer", "transformer_2"}) {
    if (class_of(index, component).empty()) continue;
    require_class(index, component, "WanTransformer3DModel");
    experts.push_back(component);
  }
  if (experts.empty()) index.refuse("transformer", "is missing, and so is transformer_2");
  return experts;
}

bool has_image_encoder(ConfigReader& index) {
  const std::string given = class_of(index, "image_encoder");
  if (given.empty()) return false;
  if (given == "CLIPVisionModelWithProjection") return true;  // the same but for its last layer
  require_class(index, "image_encoder", "CLIPVisionModel");
  return true;
}

void require_pipeline(ConfigReader& index) {
  const std::string pipeline = index.text("_class_name");
  if (pipeline == "WanPipeline" || pipeline == "WanImageToVideoPipeline") return;
  index.refuse("_class_name",
               printable(pipeline, 60) + " is not supported, only WanPipeline and WanImageToVideoPipeline");
}

}  // namespace

ModelIndex read_model_index(const std::string& folder) {
  ConfigReader index = ConfigReader::of(folder + "/model_index.json");
  require_pipeline(index);
  ModelIndex parsed;
  parsed.expand_timesteps = index.boolean("expand_timesteps", false);
  require_class(index, "vae", "AutoencoderKLWan");
  require_class(index, "text_encoder", "UMT5EncoderModel");
  if (class_of(index, "tokenizer").empty()) index.refuse("tokenizer", "is missing");
  if (class_of(index, "scheduler").empty()) index.refuse("scheduler", "is missing");
  parsed.experts = experts_of(index);
  parsed.has_image_encoder = has_image_encoder(index);
  if (index.has("boundary_ratio")) parsed.boundary_ratio = index.number("boundary_ratio", 0, 1, 0);
  index.ignore({"image_processor"});  // read where the image encoder is
  index.refuse_unknown();
  return parsed;
}

}  // namespace nightreel::card
