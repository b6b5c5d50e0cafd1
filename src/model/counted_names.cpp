#include "model/counted_names.h"

namespace nightreel::model {

namespace {

constexpr const char* kShared = "shared.weight";
constexpr const char* kTied = "encoder.embed_tokens.weight";  // UMT5: the same tensor by another name
const std::string kOldPrefix = "vision_model.";               // transformers 4's prefix, which 5 leaves out

}  // namespace

bool counts(const std::string& component, const std::string& name, const WeightMap& weights) {
  if (component == "image_encoder")
    return name != "visual_projection.weight" && !name.ends_with("embeddings.position_ids");
  if (component == "text_encoder") return name != kTied || !weights.has(kShared);
  return !name.ends_with(".norm_added_q.weight");
}

std::string counted_name(const std::string& component, const std::string& name) {
  if (component == "text_encoder" && name == kTied) return kShared;
  const bool prefixed = component == "image_encoder" && name.rfind(kOldPrefix, 0) == 0;
  return prefixed ? name.substr(kOldPrefix.size()) : name;
}

}  // namespace nightreel::model
