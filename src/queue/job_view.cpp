#include "nightreel/queue/job_view.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <nlohmann/json.hpp>
#include <set>

namespace nightreel::queue {
namespace {

struct StateName {
  JobState state;
  std::string_view name;
};
constexpr std::array<StateName, 7> kStates{{{JobState::unknown, "unknown"},
                                            {JobState::pending, "pending"},
                                            {JobState::delayed, "delayed"},
                                            {JobState::running, "running"},
                                            {JobState::done, "done"},
                                            {JobState::failed, "failed"},
                                            {JobState::cancelled, "cancelled"}}};

// A field of a public hash that others may have written: anything that is no number counts as not set.
template <typename Number>
std::optional<Number> optional_number(const Reply& field) {
  const std::string text = field.text_or_empty();
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

template <typename Number>
nlohmann::json or_null(const std::optional<Number>& value) {
  return value ? nlohmann::json(*value) : nlohmann::json(nullptr);
}

nlohmann::json text_or_null(const std::string& text) {
  return text.empty() ? nlohmann::json(nullptr) : nlohmann::json(text);
}

nlohmann::json job_json(const JobView& job) {
  nlohmann::json error = nullptr;
  if (!job.error.empty()) error = {{"kind", job.error_kind}, {"message", job.error}};
  return {{"id", job.id},
          {"state", name(job.state)},
          {"attempts", job.attempts},
          {"rank", or_null(job.rank)},
          {"host", text_or_null(job.host)},
          {"step", or_null(job.progress.step)},
          {"steps", or_null(job.progress.steps)},
          {"eta_s", or_null(job.progress.eta_s)},
          {"error", error}};
}

}  // namespace

std::string_view name(JobState state) {
  return kStates.at(static_cast<std::size_t>(state)).name;
}

JobState job_state(std::string_view name) {
  const auto* found = std::find_if(kStates.begin(), kStates.end(), [&](const auto& s) { return s.name == name; });
  return found == kStates.end() ? JobState::unknown : found->state;
}

JobView job_view(const Reply& reply) {
  JobView view;
  view.id = reply.at(0).text();
  view.state = job_state(reply.at(1).text_or_empty());
  view.attempts = optional_number<std::int64_t>(reply.at(2)).value_or(0);
  view.rank = optional_number<std::int64_t>(reply.at(3));
  view.host = reply.at(4).text_or_empty();
  view.progress = {reply.at(5).text_or_empty(), optional_number<std::int64_t>(reply.at(6)),
                   optional_number<std::int64_t>(reply.at(7)), optional_number<double>(reply.at(8))};
  view.error_kind = reply.at(9).text_or_empty();
  view.error = reply.at(10).text_or_empty();
  view.poison = reply.at(11).text_or_empty() == "1";
  view.priority = optional_number<std::int64_t>(reply.at(12)).value_or(0);
  view.out = reply.at(13).text_or_empty();
  view.video = reply.at(14).text_or_empty();
  view.sha256 = reply.at(15).text_or_empty();
  view.hash = reply.at(16).text_or_empty();
  view.run = reply.at(17).text_or_empty();
  view.identity = reply.at(18).text_or_empty();
  view.stamp = reply.at(19).text_or_empty();
  return view;
}

std::vector<JobView> jobs_to_show(JobQueue& queue, bool all) {
  std::vector<JobState> states{JobState::running, JobState::failed};
  if (all) {
    states = {JobState::running, JobState::pending,   JobState::delayed,
              JobState::failed,  JobState::cancelled, JobState::done};
  }
  std::vector<JobView> out;
  std::set<std::string> seen;  // a job may change its state between two lists
  for (const JobState state : states) {
    for (auto& view : queue.list(state)) {
      if (seen.insert(view.id).second) out.push_back(std::move(view));
    }
  }
  return out;
}

nlohmann::json status_json(const std::string& queue_name, const Counts& counts, const std::vector<JobView>& jobs) {
  nlohmann::json list = nlohmann::json::array();
  for (const auto& job : jobs) list.push_back(job_json(job));
  return {{"queue", queue_name},           {"pending", counts.pending + counts.inbox},
          {"delayed", counts.delayed},     {"running", counts.running},
          {"done", counts.done},           {"failed", counts.failed},
          {"cancelled", counts.cancelled}, {"jobs", list}};
}

}  // namespace nightreel::queue
