#include "nightreel/sample/sampler.h"

#include <algorithm>
#include <array>

#include "nightreel/base/error.h"
#include "sample/dpm_plus_plus.h"
#include "sample/euler.h"
#include "sample/sampler_rows.h"
#include "sample/unipc.h"

namespace nightreel::sample {

namespace {

template <class Made>
std::unique_ptr<Sampler> make(const Schedule& schedule) {
  return std::make_unique<Made>(schedule);
}

constexpr std::array<SamplerRow, 3> kSamplers{{
    {Method::unipc, "unipc", unipc_sigmas, true, make<UniPc>},
    {Method::dpm_plus_plus, "dpm++", dpm_sigmas, true, make<DpmPlusPlus>},
    {Method::euler, "euler", euler_sigmas, false, make<Euler>},
}};

std::string names() {
  std::string text;
  for (std::size_t i = 0; i < kSamplers.size(); ++i) {
    text += i == 0 ? "" : i + 1 == kSamplers.size() ? " and " : ", ";
    text += kSamplers.at(i).name;
  }
  return text;
}

}  // namespace

const SamplerRow& row_of(Method method) {
  return *std::find_if(kSamplers.begin(), kSamplers.end(), [&](const SamplerRow& row) { return row.method == method; });
}

Method method_of(const std::string& name) {
  const auto* found =
      std::find_if(kSamplers.begin(), kSamplers.end(), [&](const SamplerRow& row) { return row.name == name; });
  if (found != kSamplers.end()) return found->method;
  throw base::Error(base::ErrorKind::job,
                    "sampler: \"" + base::printable(name) + "\" is not known; " + names() + " are");
}

std::unique_ptr<Sampler> make_sampler(Method method, const Schedule& schedule) {
  return row_of(method).make(schedule);
}

}  // namespace nightreel::sample
