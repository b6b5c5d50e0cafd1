// The jobs that a renderer was given: whether each is still wanted, and what its rank hears of it.
//
// Refers to the events, which must outlive it. Any thread.
#pragma once

#include <exception>
#include <map>
#include <mutex>
#include <set>
#include <string>

#include "render/events.h"
#include "render/work.h"

namespace nightreel::render {

class Jobs {
 public:
  explicit Jobs(Events& events) : events_(events) {}

  void add(const Work& work);
  void cancel(const std::string& job);
  void cancel_all();
  /// To be saved and stopped.
  void stop(const std::string& job);

  /// Tells the rank of `work`'s progress, and the maker what the rank wants; while `work` lives.
  RenderObserver observer_for(const Work& work);
  void done(const Finished& finished);
  void fail(const protocol::RenderRequest& request, const std::exception& thrown);

 private:
  bool stop_asked(const std::string& job);
  void forget(const std::string& job);

  Events& events_;
  std::mutex mutex_;  // of the two below
  std::map<std::string, base::CancelToken> in_hand_;
  std::set<std::string> to_stop_;
};

}  // namespace nightreel::render
