#include "model/counted_names.h"

namespace nightreel::model {

namespace {

constexpr const char* kShared = "shared.weight";
constexpr const char* kTied = "encoder.embed_tokens.weight";  // UMT5: the same tensor by another name
const std::string kVision = "vision_model.";                  // transformers 4's prefix, which 5 leaves out

bool ends(const std::string& text, const std::string& with) {
  return text.size() >= with.size() && text.compare(text.size() - with.size(), with.size(), with) == 0;
}

}  // namespace

bool counts(const std::string& component, const std::string& name, const WeightMap& weights) {
  if (component == "image_encoder") return name != "visual_projection.weight" && !ends(name, "embeddings.position_ids");
  if (component == "text_encoder") return name != kTied || !weights.has(kShared);
  return !ends(name, ".norm_added_q.weight");
}

std::string counted_name(const std::string& component, const std::string& name) {
  if (component == "text_encoder" && name == kTied) return kShared;
  const bool prefixed = component == "image_encoder" && name.rfind(kVision, 0) == 0;
  return prefixed ? name.substr(kVision.size()) : name;
}

}  // namespace nightreel::model
