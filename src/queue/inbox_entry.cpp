#include "nightreel/queue/inbox_entry.h"

#include "nightreel/base/json.h"
#include "nightreel/queue/submit_jobs.h"

namespace nightreel::queue {
namespace {

std::string senders_id(const std::string& entry) {
  try {
    const base::Json json = base::parse_json(entry);
    const auto id = json.is_object() ? json.find("id") : json.end();
    if (id == json.end() || !id->is_string()) return "";
    return job::is_id(id->get_ref<const std::string&>()) ? id->get<std::string>() : "";
  } catch (const base::Error&) {
    return "";
  }
}

}  // namespace

InboxJob read_inbox_entry(const std::string& entry, const job::PathRules& rules) {
  try {
    return {submission_of(job::parse_job(entry, rules)), ""};
  } catch (const base::Error& e) {
    return {std::nullopt, e.what(), senders_id(entry)};
  }
}

}  // namespace nightreel::queue
