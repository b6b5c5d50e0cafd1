#include "nightreel/rank/group_renderer.h"

#include <algorithm>
#include <thread>

namespace nightreel::rank {

using base::Error;
using base::ErrorKind;
using std::chrono::milliseconds;

namespace {

// The others write no files.
std::string without_files(protocol::Json request) {
  for (const char* file : {"video", "sheet", "archive"}) request[file] = "";
  return request.dump();
}

}  // namespace

GroupRenderer::GroupRenderer(const std::vector<Member>& members, Meeting meeting, protocol::ReadyEvent ready,
                             GroupLimits limits, base::Logger log)
    : meeting_(std::move(meeting)), ready_(std::move(ready)), limits_(limits), log_(std::move(log)) {
  for (const Member& member : members) members_.push_back({&member.unit, member.rank, member.name});
}

std::vector<std::size_t> GroupRenderer::present() const {
  std::vector<std::size_t> out;
  for (std::size_t at = 0; at < members_.size(); ++at) {
    if (!members_[at].away) out.push_back(at);
  }
  return out;
}

std::vector<int> GroupRenderer::ranks() const {
  std::vector<int> out;
  for (const std::size_t at : present()) out.push_back(members_[at].rank);
  return out;
}

std::string GroupRenderer::names() const {
  std::string out;
  for (const std::size_t at : present()) out += (out.empty() ? "" : ", ") + members_[at].name;
  return out;
}

// ---- starts and ends -----------------------------------------------------------------------------------------------

void GroupRenderer::start() {
  if (size() == 0) throw Error(ErrorKind::renderer, "no renderer of the group is left");
  since_start_ = base::Stopwatch();
  blamed_ = first();
  trouble_.reset();
  for (const std::size_t at : present()) {
    members_[at].joined = false;
    members_[at].unit->start();
  }
  state_ = State::loading;
}

void GroupRenderer::remember_failed(const std::string& memory) {
  for (const std::size_t at : present()) members_[at].unit->remember_failed(memory);
}

bool GroupRenderer::may_start() {
  const auto all = present();
  return std::all_of(all.begin(), all.end(), [&](std::size_t at) { return members_[at].unit->may_start(); });
}

void GroupRenderer::expect_silence(milliseconds at_most) {
  for (const std::size_t at : present()) members_[at].unit->expect_silence(at_most);
}

void GroupRenderer::kill() {
  for (Standing& member : members_) member.unit->kill();
  state_ = State::down;
  trouble_.reset();
}

void GroupRenderer::put_out(std::size_t at, const std::string& why) {
  Standing& member = members_[at];
  member.away = true;
  member.unit->dismiss(why);
  losses_.push_back(member.name + ": " + why);
  const std::string left = size() == 0 ? "nobody is left" : std::to_string(size()) + " left: " + names();
  log_.warn("group-smaller", member.name + " is out of the group, " + why + "; " + left);
}

// One member that failed is everybody's end: the others' collective calls would wait for it.
RenderUnit::Event GroupRenderer::lost(std::size_t at, std::string how) {
  const bool loading = state_ == State::loading && !members_[at].unit->ready();
  kill();
  blamed_ = at;
  ++members_[at].deaths;
  if (!members_[at].unit->gone().empty()) {
    put_out(at, how);
  } else if (loading && size() > 1 && since_start_.seconds() > limits_.loading_s) {
    put_out(at, "its renderer did not come up");
  }
  return {std::nullopt, "the renderer of " + members_[at].name + ": " + how};
}

// Videos that hang are nobody's. The first one's host is where the renderers of other hosts meet: without it the rest
// of such a group has no place.
bool GroupRenderer::shrink() {
  const auto all = present();
  if (all.size() < 2) return false;
  const std::size_t worst = *std::max_element(
      all.begin(), all.end(), [&](std::size_t a, std::size_t b) { return members_[a].deaths < members_[b].deaths; });
  if (members_[worst].deaths == 0 || (worst == 0 && !meeting_.listen_on.empty())) return false;
  put_out(worst, "the group died of its renderer again and again");
  for (Standing& member : members_) member.deaths = 0;
  return true;
}

// ---- what they are told --------------------------------------------------------------------------------------------

void GroupRenderer::tell(std::size_t at, const std::string& line) {
  try {
    members_[at].unit->send(line);
  } catch (const Error& e) {
    if (!trouble_) trouble_ = Trouble{at, e.what(), {}};  // most often it is dead: its next event says how
  }
}

void GroupRenderer::send(const std::string& line) {
  const auto request = protocol::decode_request(line);
  tell(first(), line);
  if (request.type != "render") return;
  const std::string others = without_files(request.body);
  for (const std::size_t at : present()) {
    if (at != first()) tell(at, others);
  }
}

// ---- what they say -------------------------------------------------------------------------------------------------

std::optional<RenderUnit::Event> GroupRenderer::poll(milliseconds timeout) {
  const auto until = std::chrono::steady_clock::now() + timeout;
  for (;;) {
    if (auto event = look()) return event;
    const auto left = std::chrono::duration_cast<milliseconds>(until - std::chrono::steady_clock::now());
    if (state_ == State::down || left <= milliseconds(0)) return std::nullopt;
    std::this_thread::sleep_for(std::min(left, kMemberPoll));
  }
}

// Everybody is listened to, those who are away, too: a link keeps what nobody takes. Who is lost while the group is
// down is nobody's death.
std::optional<RenderUnit::Event> GroupRenderer::look() {
  for (std::size_t seen = 0; seen < members_.size(); ++seen) {
    const std::size_t at = turn_++ % members_.size();
    auto event = members_[at].unit->poll(milliseconds(0));
    if (members_[at].away) continue;
    if (!event && !members_[at].unit->gone().empty()) put_out(at, members_[at].unit->gone());
    if (!event) continue;
    try {
      if (auto said = handle(at, std::move(*event))) return said;
    } catch (const Error& e) {
      if (e.kind() != ErrorKind::renderer) throw;
      return lost(at, e.what());
    }
  }
  return look_at_times();
}

std::optional<RenderUnit::Event> GroupRenderer::look_at_times() {
  if (trouble_ && trouble_->since.seconds() > limits_.settle_s) return lost(trouble_->member, trouble_->what);
  const auto all = present();
  if (state_ == State::loading) {
    const bool ready = std::all_of(all.begin(), all.end(), [&](std::size_t at) { return members_[at].unit->ready(); });
    return ready ? meet() : std::nullopt;
  }
  if ((state_ != State::meeting && state_ != State::joining) || since_meeting_.seconds() <= limits_.meeting_s) {
    return std::nullopt;
  }
  const auto late = std::find_if(all.begin(), all.end(), [&](std::size_t at) { return !members_[at].joined; });
  return lost(*late, "did not meet the others within " + base::human_duration(limits_.meeting_s));
}

std::optional<RenderUnit::Event> GroupRenderer::handle(std::size_t at, Event event) {
  if (!event.message) {
    const bool said_why = trouble_ && trouble_->member == at;
    return lost(at, said_why ? trouble_->what + "; then it ended: " + event.died : event.died);
  }
  const std::string& type = event.message->type;
  if (type == "ready") return on_ready(std::move(event));
  if (type == "rendezvous") return on_rendezvous(at, protocol::rendezvous_event(*event.message));
  if (type == "failed") return on_failed(at, std::move(event));
  if (at != first() || state_ != State::formed) return std::nullopt;
  if (type == "done") {
    for (Standing& member : members_) member.deaths = 0;
  }
  return event;
}

// The group says it when it stands; another model than the run's is said at once.
std::optional<RenderUnit::Event> GroupRenderer::on_ready(Event event) {
  if (protocol::ready_event(*event.message).model_digest == ready_.model_digest) return std::nullopt;
  return event;
}

// A renderer whose peers are gone, or that cannot trust its device, is no member any more. Whose fault it was is often
// said by another's death a moment later.
std::optional<RenderUnit::Event> GroupRenderer::on_failed(std::size_t at, Event event) {
  const auto failed = protocol::failed_event(*event.message);
  if (!failed.memory_failed.empty()) remember_failed(failed.memory_failed);
  if (failed.job.empty() || failed.kind == ErrorKind::comm || failed.kind == ErrorKind::device) {
    if (!trouble_) trouble_ = Trouble{at, failed.message, {}};
    return std::nullopt;
  }
  if (at == first()) return event;
  if (failed.kind != ErrorKind::interrupted) log_.warn("member-failed", members_[at].name + ": " + failed.message);
  return std::nullopt;
}

// ---- how the group forms -------------------------------------------------------------------------------------------

/// To make a rendezvous where `address` is empty, else to join that one; for the first of the group.
protocol::GroupRequest GroupRenderer::request_at(const std::string& address) const {
  protocol::GroupRequest request;
  request.backend = meeting_.backend;
  request.address = address;
  request.listen_on = meeting_.listen_on;
  request.size = size();
  request.deadline_ms = limits_.exchange_ms;
  request.stay = true;
  return request;
}

std::optional<RenderUnit::Event> GroupRenderer::meet() {
  if (size() == 1) return formed();
  state_ = State::meeting;
  since_meeting_ = base::Stopwatch();
  tell(first(), protocol::encode(request_at("")));
  return std::nullopt;
}

std::optional<RenderUnit::Event> GroupRenderer::on_rendezvous(std::size_t at, const protocol::RendezvousEvent& event) {
  if (state_ == State::joining && event.joined) {
    members_[at].joined = true;
    const auto all = present();
    const bool whole = std::all_of(all.begin(), all.end(), [&](std::size_t one) { return members_[one].joined; });
    return whole ? std::optional(formed()) : std::nullopt;
  }
  if (state_ != State::meeting || event.joined || at != first()) return std::nullopt;
  state_ = State::joining;
  protocol::GroupRequest request = request_at(event.address);
  for (const std::size_t one : present()) {
    tell(one, protocol::encode(request));
    ++request.rank;
  }
  return std::nullopt;
}

RenderUnit::Event GroupRenderer::formed() {
  state_ = State::formed;
  log_.info("group", std::to_string(size()) + " render together: " + names());
  return {protocol::decode_event(protocol::encode(ready_)), ""};
}

}  // namespace nightreel::rank
