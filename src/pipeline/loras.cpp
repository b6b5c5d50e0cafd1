#include "nightreel/pipeline/loras.h"

#include <map>

#include "nightreel/base/error.h"
#include "nightreel/base/hash.h"
#include "nightreel/base/json.h"
#include "nightreel/job/lora_set.h"

namespace nightreel::pipeline {

OpenLoras open_loras(const std::vector<job::Lora>& loras) {
  std::map<std::string, std::shared_ptr<const model::LoraFile>> files;  // one may serve both experts, scaled apart
  OpenLoras open;
  for (job::Lora& lora : job::in_merge_order(loras)) {
    auto& file = files[lora.path];
    if (!file) file = model::LoraFile::open(lora.path);
    open.push_back({std::move(lora), file});
  }
  return open;
}

std::string digest_of(const OpenLoras& loras) {
  if (loras.empty()) return {};
  base::Json list = base::Json::array();
  for (const auto& [lora, file] : loras) list.push_back({file->digest(), lora.scale, lora.expert});
  return base::xxh128_hex(list.dump());
}

ExpertLoras::ExpertLoras(std::unique_ptr<model::LoraMerger> high, std::unique_ptr<model::LoraMerger> low)
    : experts_{{{std::move(high), {}}, {std::move(low), {}}}} {}

std::vector<std::string> ExpertLoras::use(const OpenLoras& loras) {
  std::vector<job::Lora> names;
  std::array<std::vector<model::LoraUse>, 2> uses;
  for (const auto& [lora, file] : loras) {
    names.push_back(lora);
    if (lora.expert != "low") uses[0].push_back({file, lora.scale});
    if (lora.expert != "high") uses[1].push_back({file, lora.scale});
    if (lora.expert != "low" || experts_[1].merger) continue;
    throw base::Error(base::ErrorKind::job, "loras: expert: low: this model has one expert");
  }
  std::vector<std::string> ignored;
  for (std::size_t i = 0; i < experts_.size(); ++i) {
    if (!experts_[i].merger) continue;
    for (std::string& keys : experts_[i].merger->check(uses[i])) ignored.push_back(std::move(keys));
    experts_[i].uses = std::move(uses[i]);
  }
  set_ = job::lora_set(names);
  return ignored;
}

void ExpertLoras::merge(bool high) {
  const Expert& expert = experts_[high ? 0 : 1];
  expert.merger->merge(expert.uses);
}

}  // namespace nightreel::pipeline
