// status, cancel, retry: small looks at the queue and small changes of it.
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "app/nightreel/open_queue.h"
#include "app/nightreel/subcommands.h"
#include "nightreel/base/error.h"
#include "nightreel/queue/job_view.h"

namespace nightreel::app {
namespace {

struct Flags {
  QueueFlags queue;
  bool json = false;
  bool all = false;
  std::vector<std::string> ids;
};

int show_status(const Flags& flags) {
  const OpenQueue open = open_queue(flags.queue, "status");
  const queue::Counts counts = open.jobs->counts("");
  const auto jobs = queue::jobs_to_show(*open.jobs, flags.all);
  const nlohmann::json object = queue::status_json(flags.queue.name, counts, jobs);
  if (flags.json) {
    std::printf("%s\n", object.dump().c_str());
    return 0;
  }
  for (const char* state : {"pending", "delayed", "running", "done", "failed", "cancelled"}) {
    std::printf("%-10s %s\n", state, object.at(state).dump().c_str());
  }
  for (const auto& job : jobs) {
    std::printf("%s  %s  %s\n", job.id.c_str(), std::string(queue::name(job.state)).c_str(),
                base::printable(job.error).c_str());
  }
  return 0;
}

int cancel(const Flags& flags) {
  const OpenQueue open = open_queue(flags.queue, "cancel");
  int code = 0;
  for (const auto& id : flags.ids) {
    const queue::Cancelled result = open.jobs->cancel(id);
    const bool done = result == queue::Cancelled::now || result == queue::Cancelled::asked;
    const char* word = result == queue::Cancelled::now       ? "cancelled"
                       : result == queue::Cancelled::asked   ? "asked; its rank stops it at the next renewal"
                       : result == queue::Cancelled::unknown ? "unknown"
                                                             : "had ended before";
    std::printf("%s: %s\n", base::printable(id).c_str(), word);
    if (!done) code = 1;
  }
  return code;
}

int retry(const Flags& flags) {
  if (flags.ids.empty() != flags.all) {
    throw base::Error(base::ErrorKind::usage, "retry: give job ids, or --all for every failed job");
  }
  const OpenQueue open = open_queue(flags.queue, "retry");
  std::vector<std::string> ids = flags.ids;
  if (flags.all) {
    for (const auto& job : open.jobs->list(queue::JobState::failed)) ids.push_back(job.id);
  }
  int code = 0;
  for (const auto& id : ids) {
    const queue::Retried result = open.jobs->retry(id);
    const bool done = result == queue::Retried::pending || result == queue::Retried::inbox;
    std::printf("%s: %s\n", base::printable(id).c_str(), done ? "pending" : "cannot be retried");
    if (!done) code = 1;
  }
  return code;
}

}  // namespace

void add_status(CLI::App& app, Action& action) {
  CLI::App* sub = app.add_subcommand("status", "Show what is in the queue");
  auto flags = std::make_shared<Flags>();
  flags->queue.add_to(*sub);
  sub->add_flag("--json", flags->json, "as one JSON object");
  sub->add_flag("--all", flags->all, "list all jobs, not only the running and the failed ones");
  sub->callback([&action, flags] { action = [flags] { return show_status(*flags); }; });
}

void add_cancel(CLI::App& app, Action& action) {
  CLI::App* sub = app.add_subcommand("cancel", "End jobs");
  auto flags = std::make_shared<Flags>();
  flags->queue.add_to(*sub);
  sub->add_option("ids", flags->ids, "job ids")->required();
  sub->callback([&action, flags] { action = [flags] { return cancel(*flags); }; });
}

void add_retry(CLI::App& app, Action& action) {
  CLI::App* sub = app.add_subcommand("retry", "Put failed or cancelled jobs back");
  auto flags = std::make_shared<Flags>();
  flags->queue.add_to(*sub);
  sub->add_option("ids", flags->ids, "job ids");
  sub->add_flag("--all", flags->all, "every failed job");
  sub->callback([&action, flags] { action = [flags] { return retry(*flags); }; });
}

}  // namespace nightreel::app
