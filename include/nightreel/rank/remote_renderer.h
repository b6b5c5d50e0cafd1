// A renderer that another rank of the group has started (member.h), as the group's first rank sees it.
//
// Uses the group's link, which must outlive it; one thread, the link's. A rank that gives no sign of life for its limit
// is reported as its renderer's death, and is out for good: what it says later does not count. So is one that has left,
// because it had none of this rank. Signs of this rank go out from poll(), one a second.
#pragma once

#include <functional>

#include "nightreel/cluster/groups.h"
#include "nightreel/rank/render_unit.h"
#include "nightreel/rank/signals.h"
#include "nightreel/rank/silence.h"

namespace nightreel::rank {

struct RemoteRank {
  std::size_t at = 0;           // in the link's ranks()
  std::string name;             // for people
  std::string log_file;         // of its renderer
  double silence_limit_s = 45;  // without a sign of life of the rank, which comes every second
};

class RemoteRenderer : public RenderUnit {
 public:
  /// Its renderer has been started once and is ready. `asked`: what the member was asked to by a signal.
  RemoteRenderer(cluster::GroupLink& link, RemoteRank rank, std::function<void(Ask)> asked)
      : link_(link), rank_(std::move(rank)), asked_(std::move(asked)) {}

  void start() override;
  void remember_failed(const std::string& memory) override { memory_failed_ = memory; }
  bool may_start() override { return gone_.empty(); }  // the member waits for its GPU
  bool running() const override { return running_; }
  bool ready() const override { return running_ && ready_; }
  void send(const std::string& line) override;
  /// Never waits. To be called while it does not run, too.
  std::optional<Event> poll(std::chrono::milliseconds timeout) override;
  void expect_silence(std::chrono::milliseconds at_most) override;
  std::string log_file() const override { return rank_.log_file; }
  std::string last_words() const override { return words_; }
  void kill() override;
  void dismiss(const std::string& why) override;
  std::string gone() const override { return gone_; }
  /// The run is over: the member may leave.
  void end();

 private:
  void tell(const std::string& what, const std::string& text = "");
  void tell_sign(double silence_s);
  std::optional<Event> lost(const std::string& why);
  cluster::GroupLink& link_;
  RemoteRank rank_;
  std::function<void(Ask)> asked_;
  std::string memory_failed_;
  std::int64_t start_ = 0;
  bool running_ = true;
  bool ready_ = true;
  std::string gone_;
  bool left_ = false;  // it takes no more messages
  std::string words_;
  Silence silence_;
  base::Stopwatch since_sign_;
};

}  // namespace nightreel::rank
