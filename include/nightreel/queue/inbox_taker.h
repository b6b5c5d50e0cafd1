// Makes jobs of what is pushed to the inbox, from a thread of its own, so that neither a rank that is busy holds up the
// entries nor a flood of entries the rank.
//
// Owns the thread and its connection to the queue. found() and check() may be called from any thread. A queue that is
// away is asked again; what no patience mends (somebody wrote something else under the inbox's key) stands in check().
// The destructor stops the thread; entries that it has looked at stay in the inbox.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "nightreel/base/cancel.h"
#include "nightreel/base/error.h"
#include "nightreel/base/log.h"
#include "nightreel/queue/job_queue.h"

namespace nightreel::queue {

/// So many refused entries are named; the others are counted.
inline constexpr std::int64_t kNamedRejects = 100;

struct InboxParts {
  std::unique_ptr<JobQueue> queue;  // no other thread may use it
  InboxValidator validate;          // called from the thread
  std::string out;
  std::chrono::milliseconds interval{500};  // between two looks at an inbox that was empty
  base::CancelToken stop;                   // of the queue's Patience: the destructor raises it
  base::Logger log;
};

class InboxTaker {
 public:
  struct Found {
    std::vector<Rejected> rejected;  // the first kNamedRejects
    std::int64_t rejected_in_all = 0;
  };

  explicit InboxTaker(InboxParts parts);
  InboxTaker(const InboxTaker&) = delete;
  InboxTaker& operator=(const InboxTaker&) = delete;
  ~InboxTaker();

  Found found() const;
  /// Throws what stopped the thread, if anything did.
  void check() const;
  bool stopped() const;

 private:
  void run();
  bool turn();
  void keep(const std::vector<Rejected>& rejected);

  InboxParts p_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  Found found_;
  std::optional<base::Error> fault_;
  bool away_ = false;   // the thread's own
  std::thread thread_;  // last: it uses all the above
};

}  // namespace nightreel::queue
