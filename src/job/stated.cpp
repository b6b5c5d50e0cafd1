#include "nightreel/job/stated.h"

#include "job/fields.h"
#include "nightreel/base/error.h"

namespace nightreel::job {

Overrides stated_by(const card::Card& card) {
  Overrides stated;
  try {
    std::vector<std::string> known;
    append_names(kOverrideFields, known);
    refuse_unknown(card.stated, known);
    read_fields(card.stated, kOverrideFields, stated);
    if (stated.guidance_scale_2 && !card.two_experts()) refuse("guidance_scale_2", "this model has one expert");
  } catch (const base::Error& e) {
    throw base::Error(base::ErrorKind::model, base::printable(card.folder) + "/nightreel.json: " + e.what());
  }
  return stated;
}

}  // namespace nightreel::job
