#include "nightreel/job/lora_set.h"

#include <algorithm>
#include <tuple>

#include "nightreel/base/hash.h"
#include "nightreel/base/json.h"

namespace nightreel::job {

std::vector<settings::Lora> in_merge_order(std::vector<settings::Lora> loras) {
  std::sort(loras.begin(), loras.end(), [](const settings::Lora& a, const settings::Lora& b) {
    return std::tie(a.path, a.expert, a.scale) < std::tie(b.path, b.expert, b.scale);
  });
  return loras;
}

std::string lora_set(const std::vector<settings::Lora>& loras) {
  if (loras.empty()) return {};
  base::Json list = base::Json::array();
  for (const settings::Lora& lora : in_merge_order(loras)) list.push_back({lora.path, lora.expert, lora.scale});
  return base::xxh128_hex(base::dump_json(list));
}

}  // namespace nightreel::job
