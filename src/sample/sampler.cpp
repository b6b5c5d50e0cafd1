#include "nightreel/sample/sampler.h"

#include "nightreel/base/error.h"
#include "sample/dpm_plus_plus.h"
#include "sample/euler.h"
#include "sample/unipc.h"

namespace nightreel::sample {

std::unique_ptr<Sampler> make_sampler(Method method, const Schedule& schedule) {
  switch (method) {
    case Method::unipc:
      return std::make_unique<UniPc>(schedule);
    case Method::dpm_plus_plus:
      return std::make_unique<DpmPlusPlus>(schedule);
    case Method::euler:
      return std::make_unique<Euler>(schedule);
  }
  throw base::Error(base::ErrorKind::internal, "sampler: no such method");
}

}  // namespace nightreel::sample
