#include "doctor/patient.h"

#include <future>
#include <thread>

#include "nightreel/base/clock.h"
#include "nightreel/base/error.h"

namespace nightreel::doctor {

std::string Patient::within(std::chrono::milliseconds limit, std::function<std::string()> work) const {
  std::packaged_task<std::string()> task(std::move(work));
  auto answer = task.get_future();
  ++*running_;
  std::thread([task = std::move(task), running = running_]() mutable {
    task();
    --*running;
  }).detach();
  if (answer.wait_for(limit) != std::future_status::ready) {
    throw base::Error(base::ErrorKind::environment,
                      "no answer within " + base::human_duration(std::chrono::duration<double>(limit).count()));
  }
  return answer.get();
}

}  // namespace nightreel::doctor
