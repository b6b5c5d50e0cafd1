#include "nightreel/job/memory_check.h"

#include "nightreel/base/error.h"
#include "nightreel/job/job_file.h"
#include "nightreel/job/resolve.h"
#include "nightreel/memory/plan.h"

namespace nightreel::job {

void check_memory(const std::vector<Job>& jobs, const card::Card& card, const Recipe& recipe,
                  const memory::DeviceMemory& memory) {
  BadLines bad(JobFileLimits{}.shown);
  for (const auto& job : jobs) {
    try {
      memory::fitting_plan(memory, resolve(job, card, recipe));
    } catch (const base::Error& e) {
      bad.add((job.origin.empty() ? "" : job.origin + ": ") + e.what());
    }
  }
  bad.check();
}

}  // namespace nightreel::job
