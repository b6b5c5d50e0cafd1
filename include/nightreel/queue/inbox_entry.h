// What somebody pushed to the inbox, made a job or refused with its reason. Pure; any thread.
#pragma once

#include <string>

#include "nightreel/job/job.h"
#include "nightreel/queue/job_queue.h"

namespace nightreel::queue {

/// Nothing is thrown for a bad entry. The sender's id is kept where it is a legal one, whatever else is wrong.
InboxJob read_inbox_entry(const std::string& entry, const job::PathRules& rules);

}  // namespace nightreel::queue
