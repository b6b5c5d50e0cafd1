#include "nightreel/sample/sampler.h"

#include "nightreel/base/error.h"
#include "sample/unipc.h"

namespace nightreel::sample {

std::unique_ptr<Sampler> make_sampler(const std::string& name, const Schedule& schedule) {
  if (name == "unipc") return std::make_unique<UniPc>(schedule);
  throw base::Error(base::ErrorKind::job, "sampler: \"" + base::printable(name) + "\" is not known; unipc is");
}

}  // namespace nightreel::sample
