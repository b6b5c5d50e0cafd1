// Several renderers that render each video together, as one unit for the drain loop.
//
// Uses the members' units, which must outlive it; one thread, theirs. The group forms anew after every start: once all
// are ready the first makes a rendezvous, all join it, and the group says `ready`. Every request to render goes to all
// of them, only the first is asked for files; what the first says of a video is what the group says. The group dies of
// any of its renderers: the others are ended, and all are started again. A member that cannot be started again, or that
// the group dies of again and again, is dismissed; the others go on, to the last one.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "nightreel/base/clock.h"
#include "nightreel/base/log.h"
#include "nightreel/protocol/message.h"
#include "nightreel/rank/render_unit.h"

namespace nightreel::rank {

struct GroupLimits {
  double loading_s = 3600;  // a member whose renderer needs longer is dismissed
  double meeting_s = 90;    // from the last `ready` until all have joined
  double settle_s = 3;  // from a renderer's word that the others are lost to it until it counts as the one that failed
  std::int64_t exchange_ms = 300'000;  // a collective call of the renderers'
};

/// How the renderers meet: as GroupRequest.
struct Meeting {
  std::string backend;
  std::string listen_on;
};

class GroupRenderer : public RenderUnit {
 public:
  struct Member {
    RenderUnit& unit;
    int rank = 0;
    std::string name;  // for people
  };
  /// `members`: running and ready with what `ready` says; the first one is of this rank.
  GroupRenderer(const std::vector<Member>& members, Meeting meeting, protocol::ReadyEvent ready, GroupLimits limits,
                base::Logger log);

  void start() override;
  void remember_failed(const std::string& memory) override;
  bool may_start() override;
  bool running() const override { return state_ != State::down; }
  bool ready() const override { return state_ == State::formed; }
  std::vector<int> ranks() const override;
  int size() const { return static_cast<int>(present().size()); }
  void send(const std::string& line) override;
  std::optional<Event> poll(std::chrono::milliseconds timeout) override;
  void expect_silence(std::chrono::milliseconds at_most) override;
  std::string log_file() const override { return members_[blamed_].unit->log_file(); }
  std::string last_words() const override { return members_[blamed_].unit->last_words(); }
  void kill() override;
  bool shrink() override;
  /// Who is out of the group, and why, in that order; for people.
  const std::vector<std::string>& losses() const { return losses_; }

 private:
  enum class State { down, loading, meeting, joining, formed };
  struct Standing {
    RenderUnit* unit;
    int rank;
    std::string name;
    bool away = false;
    bool joined = false;
    int deaths = 0;  // of the group by it, since its last video
  };
  struct Trouble {
    std::size_t member;
    std::string what;
    base::Stopwatch since;
  };
  std::vector<std::size_t> present() const;
  std::size_t first() const { return present().front(); }
  std::string names() const;
  std::optional<Event> look();
  std::optional<Event> look_at_times();
  std::optional<Event> handle(std::size_t at, Event event);
  std::optional<Event> on_ready(Event event);
  std::optional<Event> on_rendezvous(std::size_t at, const protocol::RendezvousEvent& event);
  std::optional<Event> on_failed(std::size_t at, Event event);
  protocol::GroupRequest request_at(const std::string& address) const;
  std::optional<Event> meet();
  Event formed();
  Event lost(std::size_t at, std::string how);
  void put_out(std::size_t at, const std::string& why);
  void tell(std::size_t at, const std::string& line);

  std::vector<Standing> members_;
  Meeting meeting_;
  protocol::ReadyEvent ready_;
  GroupLimits limits_;
  base::Logger log_;
  State state_ = State::loading;
  std::size_t blamed_ = 0;  // whose log tells of the last death
  std::size_t turn_ = 0;    // who is listened to first
  std::optional<Trouble> trouble_;
  std::vector<std::string> losses_;
  base::Stopwatch since_start_;
  base::Stopwatch since_meeting_;
};

}  // namespace nightreel::rank
