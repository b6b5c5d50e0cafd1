#include "nightreel/queue/status_text.h"

#include <algorithm>

#include "nightreel/base/clock.h"
#include "nightreel/base/error.h"

namespace nightreel::queue {
namespace {

constexpr std::int64_t kBarWidth = 20;

std::int64_t waiting(const Counts& counts) {
  return counts.inbox + counts.pending + counts.delayed;
}

std::string bar(std::int64_t step, std::int64_t steps) {
  const auto filled = static_cast<std::size_t>(kBarWidth * std::clamp<std::int64_t>(step, 0, steps) / steps);
  return "[" + std::string(filled, '#') + std::string(static_cast<std::size_t>(kBarWidth) - filled, '.') + "]";
}

std::string left(double seconds) {
  return base::human_duration(seconds) + " left";
}

std::string what(const JobView& job) {
  std::string text = base::printable(job.id);
  const Progress& p = job.progress;
  if (!p.stage.empty()) text += "  " + base::printable(p.stage);
  if (p.step && p.steps && *p.steps > 0) {
    text += " " + std::to_string(*p.step) + "/" + std::to_string(*p.steps) + "  " + bar(*p.step, *p.steps);
  }
  if (p.eta_s) text += "  " + left(*p.eta_s);
  return text;
}

}  // namespace

void Pace::look(const Counts& counts, Clock::time_point now) {
  const std::int64_t ended = counts.done + counts.failed;
  if (!first_) {
    first_ = now;
    ended_at_first_ = ended;
  }
  const std::int64_t since = ended - ended_at_first_;
  left_.reset();
  if (since <= 0) return;
  const double seconds = std::chrono::duration<double>(now - *first_).count();
  left_ = seconds / static_cast<double>(since) * static_cast<double>(waiting(counts) + counts.running);
}

std::string totals_line(const Counts& counts, std::optional<double> seconds_left) {
  std::string text = std::to_string(counts.done) + " done, " + std::to_string(counts.running) + " running, " +
                     std::to_string(waiting(counts)) + " waiting, " + std::to_string(counts.failed) + " failed";
  if (counts.cancelled > 0) text += ", " + std::to_string(counts.cancelled) + " cancelled";
  if (seconds_left && waiting(counts) + counts.running > 0) text += ", about " + left(*seconds_left);
  return text;
}

std::string running_line(const JobView& job) {
  std::string who = job.rank ? "rank " + std::to_string(*job.rank) : "some rank";
  if (!job.host.empty()) who += " (" + base::printable(job.host) + ")";
  return who + "  " + what(job);
}

std::vector<std::string> live_block(const Counts& counts, const std::vector<JobView>& running, const std::string& run,
                                    int ranks, std::optional<double> seconds_left) {
  std::vector<std::string> lines(static_cast<std::size_t>(ranks));
  for (const JobView& job : running) {
    if (job.run != run || !job.rank || *job.rank < 0 || *job.rank >= ranks) continue;
    std::string& line = lines[static_cast<std::size_t>(*job.rank)];
    line += (line.empty() ? "" : "; ") + what(job);
  }
  for (std::size_t r = 0; r < lines.size(); ++r) {
    lines[r] = "rank " + std::to_string(r) + "  " + (lines[r].empty() ? "idle" : lines[r]);
  }
  lines.push_back(totals_line(counts, seconds_left));
  return lines;
}

}  // namespace nightreel::queue
