// status, cancel, retry: small looks at the queue and small changes of it.
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

#include "app/nightreel/open_queue.h"
#include "app/nightreel/subcommands.h"
#include "nightreel/base/error.h"
#include "nightreel/queue/job_view.h"
#include "nightreel/queue/status_text.h"

namespace nightreel::app {
namespace {

struct Flags {
  QueueFlags queue;
  bool json = false;
  bool all = false;
  bool watch = false;
  std::vector<std::string> ids;
};

// What ended or waits: "id  state", and why where there is a reason.
std::string resting_line(const queue::JobView& job) {
  std::string line = base::printable(job.id) + "  " + std::string(queue::name(job.state));
  if (!job.error.empty()) line += "  " + base::printable(job.error);
  return line;
}

void print_status(const Flags& flags, queue::JobQueue& jobs, queue::Pace& pace) {
  const queue::Counts counts = jobs.counts("");
  const auto views = queue::jobs_to_show(jobs, flags.all);
  if (flags.json) {
    // What others pushed, and what was said of it, may be no text at all.
    const auto status = queue::status_json(flags.queue.name, counts, views);
    std::printf("%s\n", status.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
    return;
  }
  pace.look(counts, queue::Clock::now());
  std::printf("queue %s: %s\n", base::printable(flags.queue.name).c_str(),
              queue::totals_line(counts, pace.seconds_left()).c_str());
  for (const auto& job : views) {
    const bool running = job.state == queue::JobState::running;
    std::printf("  %s\n", (running ? queue::running_line(job) : resting_line(job)).c_str());
  }
}

// --watch goes on until it is interrupted: on a terminal in place, else one answer below the other.
int show_status(const Flags& flags) {
  const OpenQueue open = open_queue(flags.queue, "status");
  const bool in_place = flags.watch && !flags.json && ::isatty(STDOUT_FILENO) == 1;
  queue::Pace pace;
  while (true) {
    if (in_place) std::printf("\x1b[H\x1b[J");
    print_status(flags, *open.jobs, pace);
    if (std::fflush(stdout) != 0 || !flags.watch) return 0;
    std::this_thread::sleep_for(std::chrono::seconds(2));
  }
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

// What became of it, or what it would take.
std::string retried_text(const std::string& id, queue::Retried result, queue::JobQueue& jobs) {
  switch (result) {
    case queue::Retried::pending:
    case queue::Retried::inbox:
      return "pending";
    case queue::Retried::unknown:
      return "unknown; `nightreel submit` adds its list again";
    case queue::Retried::not_kept:
      return "was too long an entry to be kept; push it again, shorter";
    case queue::Retried::not_ended:
      break;
  }
  const queue::JobState state = jobs.lookup({id}).at(0).state;
  if (state == queue::JobState::done)
    return "is done; `nightreel run --again " + base::printable(id) + "` makes it anew";
  return "is " + std::string(queue::name(state)) + ": it has not ended; `nightreel cancel` ends it";
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
    std::printf("%s: %s\n", base::printable(id).c_str(), retried_text(id, result, *open.jobs).c_str());
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
  sub->add_flag("--watch", flags->watch, "again every two seconds, until interrupted");
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
