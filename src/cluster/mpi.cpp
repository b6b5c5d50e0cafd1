#include "nightreel/cluster/mpi.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>

#include "cluster/mpi_library.h"
#include "nightreel/base/error.h"
#include "nightreel/base/json.h"
#include "nightreel/cluster/groups.h"
#include "nightreel/cluster/rank_names.h"

namespace nightreel::cluster {
namespace {

using base::Error;
using base::ErrorKind;
using base::Json;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// Members wait this much longer than rank 0 for rank 0's word, which names the missing.
constexpr milliseconds kGrace{2000};
constexpr int kTags = 16000;  // two a call; MPI promises tags up to 32767
constexpr std::size_t kProblemLength = 600;

[[noreturn]] void fail(const std::string& message) {
  throw Error(ErrorKind::environment, message);
}

/// Sleeps from 50 microseconds up to 20 milliseconds, which cost no measurable CPU.
class Pause {
 public:
  void operator()() {
    std::this_thread::sleep_for(length_);
    length_ = std::min(length_ * 2, std::chrono::microseconds(20000));
  }

 private:
  std::chrono::microseconds length_{50};
};

std::string encode(const char* field, const std::vector<std::string>& texts) {
  // Messages may be any bytes; JSON strings may not.
  Json list = Json::array();
  for (const std::string& text : texts) list.push_back(Json::binary({text.begin(), text.end()}));
  const std::vector<std::uint8_t> bytes = Json::to_cbor(Json{{field, list}});
  return std::string(bytes.begin(), bytes.end());
}

std::vector<std::string> decode(const Json& list) {
  std::vector<std::string> texts;
  for (const Json& entry : list) texts.emplace_back(entry.get_binary().begin(), entry.get_binary().end());
  return texts;
}

}  // namespace

std::string host_name() {
  if (const char* given = std::getenv("NIGHTREEL_HOSTNAME"); given != nullptr && *given != '\0') return given;
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) fail("this host has no name: gethostname failed");
  return name.data();
}

// ---- world ---------------------------------------------------------------------------------------------------------

struct World::Impl {
  MpiLibrary mpi;
  int call = 0;
  std::vector<std::string> names;  // "rank 2 on host b"; "rank 2" until hosts are known

  // Missing ranks would keep MPI_Finalize waiting for ever.
  [[noreturn]] void broken(const std::string& message) {
    mpi.abandon();
    fail(message);
  }
};

// ---- exchange ------------------------------------------------------------------------------------------------------

// Messages go to rank 0 and come back together: rank 0 can tell who is missing, which a collective of MPI cannot.
struct Exchange::State {
  std::shared_ptr<World::Impl> world;
  int tag = 0;                                       // to rank 0; the answer's is one more
  std::vector<std::optional<std::string>> received;  // rank 0 only
  std::vector<std::unique_ptr<Sending>> sending;
  std::optional<std::string> answer;  // encoded

  State(std::shared_ptr<World::Impl> owner, const std::string& mine) : world(std::move(owner)) {
    tag = 2 * (world->call++ % kTags);
    if (world->mpi.rank() != 0) {
      sending.push_back(world->mpi.send(mine, 0, tag));
      return;
    }
    received.resize(static_cast<std::size_t>(world->mpi.size()));
    received[0] = mine;
  }

  std::vector<int> missing() const {
    std::vector<int> ranks;
    for (std::size_t r = 0; r < received.size(); ++r) {
      if (!received[r]) ranks.push_back(static_cast<int>(r));
    }
    return ranks;
  }

  void collect() {
    while (auto message = world->mpi.receive(-1, tag)) {
      received.at(static_cast<std::size_t>(message->first)) = std::move(message->second);
    }
  }

  void tell_all(const std::string& text) {
    answer = text;
    for (int r = 1; r < world->mpi.size(); ++r) {
      // A rank that never came gets no answer: a message that nobody takes would be left over.
      if (received[static_cast<std::size_t>(r)]) sending.push_back(world->mpi.send(text, r, tag + 1));
    }
  }

  void progress() {
    if (world->mpi.rank() == 0 && !answer) {
      collect();
      if (!missing().empty()) return;
      std::vector<std::string> all;
      for (const auto& one : received) all.push_back(*one);
      tell_all(encode("all", all));
    }
    if (world->mpi.rank() != 0 && !answer) {
      if (auto message = world->mpi.receive(0, tag + 1)) answer = std::move(message->second);
    }
  }

  bool all_sent() {
    return std::all_of(sending.begin(), sending.end(), [](auto& one) { return one->done(); });
  }
};

Exchange::Exchange(std::unique_ptr<State> state) : state_(std::move(state)) {}
Exchange::Exchange(Exchange&&) noexcept = default;
Exchange& Exchange::operator=(Exchange&&) noexcept = default;
Exchange::~Exchange() = default;

std::optional<std::vector<std::string>> Exchange::test() {
  state_->progress();
  if (!state_->answer || !state_->all_sent()) return std::nullopt;
  const Json answer = Json::from_cbor(*state_->answer);
  if (answer.contains("error")) state_->world->broken(decode(answer.at("error")).at(0));
  return decode(answer.at("all"));
}

void Exchange::give_up(const std::string& what) {
  auto& world = *state_->world;
  if (world.mpi.rank() != 0) {
    world.broken(world.names[0] + " gave no word on " + what + ", or a rank that it waits for is missing");
  }
  std::string list;
  for (const int r : state_->missing()) {
    list += (list.empty() ? "" : ", ") + world.names[static_cast<std::size_t>(r)];
  }
  const std::string message = what + ": " + list + " did not come in time";
  state_->tell_all(encode("error", {message}));
  const auto until = Clock::now() + kGrace / 2;
  for (Pause pause; !state_->all_sent() && Clock::now() < until;) pause();
  world.broken(message);
}

std::vector<std::string> Exchange::wait(milliseconds deadline, const std::string& what) {
  const bool first = state_->world->mpi.rank() == 0;
  const auto until = Clock::now() + deadline + (first ? milliseconds(0) : kGrace);
  for (Pause pause;; pause()) {
    if (auto all = test()) return std::move(*all);
    if (Clock::now() >= until) give_up(what);
  }
}

// ---- exit code -----------------------------------------------------------------------------------------------------

int worst_exit_code(const std::vector<int>& codes) {
  for (const int code : codes) {
    if (code != 0 && code != 1 && code != 2 && code != 3 && code != 75) return 4;
  }
  for (const int worst : {2, 3, 75, 1}) {
    if (std::find(codes.begin(), codes.end(), worst) != codes.end()) return worst;
  }
  return 0;
}

std::optional<int> ExitAgreement::test() {
  const auto all = exchange_.test();
  if (!all) return std::nullopt;
  std::vector<int> codes;
  for (const std::string& one : *all) codes.push_back(std::stoi(one));
  return worst_exit_code(codes);
}

int ExitAgreement::wait(milliseconds deadline) {
  exchange_.wait(deadline, "the exit code");
  return *test();
}

// ---- world, collective calls ---------------------------------------------------------------------------------------

World::World(milliseconds deadline) : impl_(std::make_shared<Impl>()) {
  for (int r = 0; r < size(); ++r) impl_->names.push_back("rank " + std::to_string(r));
  find_places(deadline);
}

World::~World() = default;
int World::rank() const {
  return impl_->mpi.rank();
}
int World::size() const {
  return impl_->mpi.size();
}
std::string World::name_of(int rank) const {
  return impl_->names.at(static_cast<std::size_t>(rank));
}
void World::abandon() {
  impl_->mpi.abandon();
}

// A host is a name among ranks that share memory: two machines may bear one name, and tests give one machine two.
void World::find_places(milliseconds deadline) {
  const std::string host = host_name();
  all_gather(host, deadline, "the start");  // all are here: the next call blocks only for a moment
  const int leader = impl_->mpi.neighbours().front();
  const auto all =
      all_gather(Json{{"host", host}, {"leader", leader}}.dump(-1, ' ', false, Json::error_handler_t::replace),
                 deadline, "the hosts' names");
  std::map<std::pair<int, std::string>, int> known;  // (leader, name) -> index
  std::map<std::string, int> named;
  std::vector<int> count;
  for (const std::string& text : all) {
    const Json fact = Json::parse(text);
    Place place;
    place.host = base::printable(fact.at("host").get<std::string>());
    const auto [entry, fresh] = known.try_emplace({fact.at("leader").get<int>(), place.host}, int(hosts_.size()));
    place.host_index = entry->second;
    if (fresh) {
      const bool taken = named[place.host]++ > 0;
      hosts_.push_back(taken ? place.host + " (rank " + std::to_string(places_.size()) + ")" : place.host);
      count.push_back(0);
    }
    place.host = hosts_[static_cast<std::size_t>(place.host_index)];
    place.local_rank = count[static_cast<std::size_t>(place.host_index)]++;
    places_.push_back(place);
  }
  for (std::size_t r = 0; r < places_.size(); ++r) {
    places_[r].local_size = count[static_cast<std::size_t>(places_[r].host_index)];
    impl_->names[r] += " on host " + places_[r].host;
  }
}

Exchange World::start_exchange(const std::string& mine) {
  return Exchange(std::make_unique<Exchange::State>(impl_, mine));
}

std::vector<std::string> World::all_gather(const std::string& mine, milliseconds deadline, const std::string& what) {
  return start_exchange(mine).wait(deadline, what);
}

std::string World::broadcast(const std::string& bytes, int root, milliseconds deadline, const std::string& what) {
  return all_gather(rank() == root ? bytes : "", deadline, what).at(static_cast<std::size_t>(root));
}

void World::throw_together(const std::optional<std::string>& problem, milliseconds deadline, const std::string& what) {
  const auto all = all_gather(problem ? "!" + *problem : "", deadline, what);
  std::vector<std::pair<std::string, std::vector<RankName>>> problems;  // one that several ranks share is told once
  for (int r = 0; r < size(); ++r) {
    const std::string& one = all[static_cast<std::size_t>(r)];
    if (one.empty()) continue;
    const Place& place = places_[static_cast<std::size_t>(r)];
    auto known = std::find_if(problems.begin(), problems.end(), [&](const auto& p) { return p.first == one; });
    if (known == problems.end()) known = problems.insert(known, {one, {}});
    known->second.push_back({r, place.host_index, place.host});
  }
  std::string message;
  for (const auto& [text, ranks] : problems) {
    message +=
        (message.empty() ? "" : "; ") + rank_names(ranks) + ": " + base::printable(text.substr(1), kProblemLength);
  }
  if (!message.empty()) fail(message);
}

// ---- groups --------------------------------------------------------------------------------------------------------

struct GroupLink::Impl {
  std::shared_ptr<World::Impl> world;
  std::unique_ptr<SubWorld> ranks;
  std::deque<std::unique_ptr<Sending>> sending;
};

GroupLink::GroupLink(std::unique_ptr<Impl> impl, std::vector<int> ranks, std::size_t index)
    : impl_(std::move(impl)), ranks_(std::move(ranks)), index_(index) {}
GroupLink::~GroupLink() = default;

void GroupLink::send(std::size_t to, const std::string& message) {
  auto& sending = impl_->sending;
  sending.erase(std::remove_if(sending.begin(), sending.end(), [](auto& one) { return one->done(); }), sending.end());
  sending.push_back(impl_->ranks->send(message, static_cast<int>(to)));
}

std::optional<std::string> GroupLink::receive(std::size_t from) {
  return impl_->ranks->receive(static_cast<int>(from));
}

std::unique_ptr<GroupLink> World::split(const std::vector<std::vector<int>>& groups, milliseconds deadline) {
  all_gather("", deadline, "the groups");  // all are here: the next call blocks only for a moment
  std::vector<int> mine{rank()};
  for (const auto& group : groups) {
    if (std::find(group.begin(), group.end(), rank()) != group.end()) mine = group;
  }
  auto impl = std::make_unique<GroupLink::Impl>();
  impl->world = impl_;
  impl->ranks = impl_->mpi.split(mine.front());
  const auto index = std::find(mine.begin(), mine.end(), rank()) - mine.begin();
  return std::unique_ptr<GroupLink>(new GroupLink(std::move(impl), mine, static_cast<std::size_t>(index)));
}

ExitAgreement World::start_exit_agreement(int mine) {
  return ExitAgreement(start_exchange(std::to_string(mine)));
}

int World::agree_exit_code(int mine, milliseconds deadline) {
  return start_exit_agreement(mine).wait(deadline);
}

}  // namespace nightreel::cluster
