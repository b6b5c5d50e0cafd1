#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <unistd.h>
#include <algorithm>
#include <atomic>
#include <csignal>
#include <thread>

#include "comm/mailbox.h"
#include "comm/members.h"
#include "comm/store_group.h"
#include "nightreel/base/clock.h"
#include "nightreel/comm/communicator.h"
#include "nightreel/comm/texts.h"
#include "support/comes.h"
#include "support/error.h"

using nightreel::base::Stopwatch;
using nightreel::test::Announcement;
using nightreel::test::comes;
using nightreel::test::contains;
using nightreel::test::in_group;
using nightreel::test::Member;
using nightreel::test::with_store;
using std::chrono::milliseconds;
namespace comm = nightreel::comm;

namespace {

constexpr milliseconds kShort{600};      // where nobody comes
constexpr milliseconds kDeadline{4000};  // where one does not come and the others do, on a busy machine too
constexpr milliseconds kLong{60000};     // where all come: what only a hang reaches

// Different on every rank, exact in every dtype that is used here.
at::Tensor shard(int rank, at::ScalarType type = at::kFloat) {
  return (at::arange(12, at::TensorOptions().dtype(at::kFloat)).reshape({4 * 3, 1}) + 10 * rank).to(type);
}

std::string compare(const char* what, const at::Tensor& got, const at::Tensor& expected) {
  return at::equal(got, expected) ? "" : std::string(what) + " is wrong; ";
}

at::Tensor expected_exchange(int rank, int size) {
  std::vector<at::Tensor> pieces;
  for (int r = 0; r < size; ++r) pieces.push_back(shard(r).chunk(size, 0)[static_cast<std::size_t>(rank)]);
  return at::cat(pieces);
}

std::string every_verb(comm::Communicator& group) {
  const int rank = group.rank();
  const int size = group.size();
  std::string wrong;
  std::vector<at::Tensor> all;
  for (int r = 0; r < size; ++r) all.push_back(shard(r));
  for (int root = 0; root < size; ++root) {
    at::Tensor tensor = shard(rank, at::kBFloat16);
    group.broadcast(tensor, root);
    wrong += compare("broadcast", tensor, shard(root, at::kBFloat16));
  }
  wrong += compare("all_gather", group.all_gather(shard(rank)), at::cat(all));
  wrong += compare("all_gather of a view", group.all_gather(shard(rank).reshape({3, 4}).t()), at::cat([&] {
                     std::vector<at::Tensor> views;
                     for (const at::Tensor& one : all) views.push_back(one.reshape({3, 4}).t());
                     return views;
                   }()));
  at::Tensor buffer = at::zeros({12 * size, 1});
  for (int round = 0; round < 2; ++round) {
    group.all_gather_into(buffer, shard(rank) + round);
    wrong += compare("all_gather_into", buffer, at::cat(all) + round);
  }
  wrong += compare("all_to_all", group.all_to_all(shard(rank)), expected_exchange(rank, size));
  for (const int by : {1, -1, 2, -3, 0}) {
    const int source = ((rank - by) % size + size) % size;
    wrong += compare("shift", group.shift(shard(rank), by), shard(source));
    wrong +=
        compare("shift of a view", group.shift(shard(rank).reshape({3, 4}).t(), by), shard(source).reshape({3, 4}).t());
  }
  at::Tensor sum = shard(rank);
  group.all_reduce(sum);
  wrong += compare("all_reduce", sum, at::stack(all).sum(0));
  at::Tensor empty = at::empty({0, 5});
  wrong += compare("an empty all_gather", group.all_gather(empty), at::empty({0, 5}));
  at::Tensor scalar = at::scalar_tensor(static_cast<double>(rank), at::kLong);
  group.all_reduce(scalar);
  wrong += compare("a scalar sum", scalar, at::scalar_tensor(size * (size - 1) / 2, at::kLong));
  return wrong;
}

}  // namespace

TEST_CASE("every verb gives the sum or the concatenation with 1, 2, 3 and 4 ranks") {
  for (const int size : {1, 2, 3, 4}) {
    CAPTURE(size);
    const auto outcomes = in_group(size, kLong, [](comm::Communicator& group) {
      const std::string wrong = every_verb(group);
      group.finalize();
      return wrong + "end";
    });
    for (const std::string& outcome : outcomes) CHECK(outcome == "end");
  }
}

TEST_CASE("tensors larger than a chunk arrive whole, and each dtype") {
  const auto outcomes = in_group(2, kLong, [](comm::Communicator& group) {
    std::string wrong;
    at::Tensor large = at::arange(5'000'003, at::kInt) * (group.rank() + 1);
    group.broadcast(large, 1);
    wrong += compare("a large broadcast", large, at::arange(5'000'003, at::kInt) * 2);
    for (const auto type : {at::kDouble, at::kHalf, at::kBFloat16, at::kInt, at::kLong, at::kByte, at::kChar}) {
      at::Tensor sum = at::full({7}, group.rank() + 1, type);
      group.all_reduce(sum);
      wrong += compare(c10::toString(type), sum, at::full({7}, 3, type));
    }
    at::Tensor flags = at::full({2}, group.rank() == 1, at::kBool);
    wrong += compare("bool", group.all_gather(flags), at::arange(4).ge(2));
    group.finalize();
    return wrong + "end";
  });
  for (const std::string& outcome : outcomes) CHECK(outcome == "end");
}

TEST_CASE("texts of any length, none too, arrive on every rank") {
  const auto text_of = [](int rank) {
    return std::string(static_cast<std::size_t>(3 * rank), 'x') + std::string(1, 0);
  };
  for (const int size : {1, 2, 3}) {
    CAPTURE(size);
    const auto outcomes = in_group(size, kLong, [&](comm::Communicator& group) {
      std::string wrong;
      const auto texts = comm::all_gather_texts(group, at::kCPU, text_of(group.rank()));
      for (int r = 0; r < size; ++r) wrong += texts.at(static_cast<std::size_t>(r)) == text_of(r) ? "" : "wrong; ";
      for (const std::string& text : comm::all_gather_texts(group, at::kCPU, "")) wrong += text.empty() ? "" : "some; ";
      const std::string mine = group.rank() == 0 ? "rank 0's" : "another's, longer";
      if (comm::broadcast_text(group, at::kCPU, mine) != "rank 0's") wrong += "broadcast; ";
      if (!comm::broadcast_text(group, at::kCPU, group.rank() == 0 ? "" : mine).empty()) wrong += "empty broadcast; ";
      return wrong + "end";
    });
    for (const std::string& outcome : outcomes) CHECK(outcome == "end");
  }
}

TEST_CASE("a sum has the same bits on every rank") {
  const auto outcomes = in_group(3, kLong, [](comm::Communicator& group) {
    at::Tensor sum = at::full({1}, group.rank() == 1 ? 1e8F : 0.3F + 0.1F * static_cast<float>(group.rank()));
    group.all_reduce(sum);
    group.finalize();
    return std::to_string(sum.view(at::kInt).item<int>());
  });
  const float expected = (0.3F + 1e8F) + (0.3F + 0.1F * 2.0F);
  for (const std::string& outcome : outcomes) {
    CHECK(outcome == std::to_string(at::full({1}, expected).view(at::kInt).item<int>()));
  }
}

TEST_CASE("the store's memory does not grow: two calls at most, nothing after the end") {
  const Announcement address;
  const int size = 3;
  std::vector<Member> members;
  for (int rank = 0; rank < size; ++rank) {
    members.emplace_back([&, rank] {
      const auto group = comm::make_store(address.wait(), rank, size, {kLong});
      at::Tensor tensor = at::ones({100});
      for (int i = 0; i < 150; ++i) group->all_reduce(tensor);
      group->finalize();
      return std::string("end");
    });
  }
  const comm::StoreServer server("127.0.0.1");
  std::int64_t most = 0;
  std::atomic<bool> over{false};
  std::thread watcher([&] {
    for (; !over; std::this_thread::sleep_for(milliseconds(1))) most = std::max(most, server.keys());
  });
  address.tell(server.address(), size);
  for (Member& member : members) CHECK(member.outcome(kLong) == "end");
  over = true;
  watcher.join();
  CHECK(most > 0);
  CHECK(most <= 2 * 2 * size + 1);
  CHECK(server.keys() == 0);
}

TEST_CASE("members whose calls do not fit are named, at once and on every rank") {
  struct Case {
    const char* name;
    std::function<void(comm::Communicator&)> work;
    const char* expected;
  };
  const std::vector<Case> cases{
      {"another verb",
       [](comm::Communicator& group) {
         at::Tensor tensor = at::ones({4});
         if (group.rank() == 1) group.all_reduce(tensor);
         if (group.rank() != 1) group.all_gather(tensor);
       },
       "ranks 0, 2: all_gather Float [4]; rank 1: all_reduce Float [4]"},
      {"uneven shards",
       [](comm::Communicator& group) {
         group.all_gather(at::ones({group.rank() == 2 ? 3 : 4, 2}));
       },
       "rank 2: all_gather Float [3, 2]"},
      {"no room for the answer",
       [](comm::Communicator& group) {
         at::Tensor out = at::empty({group.rank() == 2 ? 11 : 12, 2});
         group.all_gather_into(out, at::ones({4, 2}));
       },
       "rank 2: cannot all_gather [4, 2] of 3 ranks into Float [11, 2]"},
      {"another dtype",
       [](comm::Communicator& group) {
         at::Tensor tensor = at::ones({2}, group.rank() == 0 ? at::kHalf : at::kFloat);
         group.broadcast(tensor, 1);
       },
       "rank 0: broadcast from rank 1 Half [2]"},
      {"another root",
       [](comm::Communicator& group) {
         at::Tensor tensor = at::ones({2});
         group.broadcast(tensor, group.rank() == 0 ? 0 : 1);
       },
       "rank 0: broadcast from rank 0 Float [2]; ranks 1, 2: broadcast from rank 1"},
      {"a split that does not work out",
       [](comm::Communicator& group) {
         group.all_to_all(at::ones({4, 2}));
       },
       "dimension 0 is not a multiple of 3 ranks"},
      {"one rank cannot",
       [](comm::Communicator& group) {
         at::Tensor tensor = group.rank() == 1 ? at::ones({2, 4}).t() : at::ones({4, 2});
         group.all_reduce(tensor);
       },
       "rank 1: cannot all_reduce Float [4, 2]: the tensor is not contiguous"},
      {"another way round the ring",
       [](comm::Communicator& group) { group.shift(at::ones({2}), group.rank() == 1 ? -1 : 1); },
       "rank 1: shift by -1 Float [2]; ranks 0, 2: shift by 1 Float [2]"},
      {"a part below 0", [](comm::Communicator& group) { group.split(group.rank() == 2 ? -1 : 0); },
       "rank 2: cannot split: part -1 is below 0"},
      {"one is at the end",
       [](comm::Communicator& group) {
         at::Tensor tensor = at::ones({2});
         if (group.rank() == 2) group.finalize();
         if (group.rank() != 2) group.all_reduce(tensor);
       },
       "rank 2: finalize"},
  };
  for (const Case& one : cases) {
    CAPTURE(one.name);
    const Stopwatch watch;
    const auto outcomes = in_group(3, kLong, [&](comm::Communicator& group) -> std::string {
      try {
        one.work(group);
      } catch (const nightreel::base::Error& e) {
        return std::string(nightreel::base::traits(e.kind()).name) + ": " + e.what();
      }
      return "nothing thrown";
    });
    for (const std::string& outcome : outcomes) {
      CHECK_MESSAGE(contains(outcome, one.expected), outcome);
      CHECK(outcome.rfind("comm: ", 0) == 0);
    }
    CHECK(watch.seconds() < 30);  // half of the deadline
  }
}

TEST_CASE("parts of a group, and parts of parts, work side by side with it") {
  for (const int size : {1, 2, 3, 4}) {
    CAPTURE(size);
    const auto outcomes = in_group(size, kLong, [](comm::Communicator& group) {
      const int rank = group.rank();
      const auto part = group.split(rank % 2 == 0 ? 7 : 0);
      const auto alone = part->split(part->rank());
      std::string wrong;
      if (part->rank() != rank / 2) wrong += "the order of ranks is wrong; ";
      if (part->size() != (group.size() + 1 - rank % 2) / 2) wrong += "the size is wrong; ";
      if (alone->size() != 1) wrong += "a part of its own is not alone; ";
      at::Tensor sum = at::full({1}, rank, at::kLong);
      part->all_reduce(sum);
      for (int r = rank % 2; r < group.size(); r += 2) sum -= r;
      wrong += compare("a part's sum", sum, at::zeros({1}, at::kLong));
      wrong += every_verb(*part) + every_verb(group) + every_verb(*alone) + every_verb(*part);
      alone->finalize();
      part->finalize();
      group.finalize();
      return wrong + "end";
    });
    for (const std::string& outcome : outcomes) CHECK(outcome == "end");
  }
}

TEST_CASE("a part's errors name the ranks of the whole group") {
  const Announcement address;
  const int size = 4;
  std::vector<Member> members;
  for (int rank = 0; rank < size; ++rank) {
    members.emplace_back([&, rank]() -> std::string {
      const auto group = comm::make_store(address.wait(), rank, size, {kDeadline});
      const auto part = group->split(rank % 2);
      if (rank == 3) ::raise(SIGSTOP);
      part->shift(at::ones({rank == 2 ? 3 : 4}), 1);
      return "nothing thrown";
    });
  }
  const auto rendezvous = comm::make_store_rendezvous("127.0.0.1");
  address.tell(rendezvous->address(), size);
  for (const auto& [rank, expected] : std::vector<std::pair<std::size_t, const char*>>{
           {0, "rank 2: shift by 1 Float [3]"},
           {2, "rank 0: shift by 1 Float [4]"},
           {1, "rank 1: rank 3 (of the part of ranks 1, 3) did not come within 4000 ms to call 1"}}) {
    const std::string outcome = members[rank].outcome(kLong);
    CHECK_MESSAGE(contains(outcome, expected), outcome);
  }
}

TEST_CASE("who does not have the token of a store meets nobody there, and is told at once") {
  const comm::StoreServer server("127.0.0.1");
  const std::string with = server.address();
  const std::string bare = with.substr(0, with.rfind('/'));
  CHECK(with.size() == bare.size() + 1 + 32);
  CHECK(comm::StoreServer("127.0.0.1").address().substr(with.size() - 32) != with.substr(with.size() - 32));
  for (const std::string& address : {bare, bare + "/", bare + "/" + std::string(32, '0')}) {
    Member stranger([&]() -> std::string {
      comm::make_store(address, 0, 1, {kLong});
      return "nothing thrown";
    });
    const std::string outcome = stranger.outcome(kLong);
    CHECK_MESSAGE(contains(outcome, "does not know this member's token"), outcome);
    CHECK_FALSE(contains(outcome, std::string(32, '0')));
  }
  CHECK(server.keys() == 0);  // and left nothing there
  Member member([&]() -> std::string {
    comm::make_store(with, 0, 1, {kLong})->finalize();
    return "met";
  });
  CHECK(member.outcome(kLong) == "met");
}

TEST_CASE("a failed communicator stays unusable and says why") {
  const auto outcomes = in_group(2, kLong, [](comm::Communicator& group) -> std::string {
    at::Tensor tensor = at::ones({group.rank() + 1});
    try {
      group.all_reduce(tensor);
    } catch (const nightreel::base::Error&) {
      tensor = at::ones({1});
      group.all_reduce(tensor);
    }
    return "nothing thrown";
  });
  for (const std::string& outcome : outcomes) {
    CHECK_MESSAGE(contains(outcome, "unusable since an earlier call failed"), outcome);
    CHECK(contains(outcome, "rank 1: all_reduce Float [2]"));
  }
}

TEST_CASE("a member that is killed, frozen or never comes is named when the deadline has passed") {
  const std::vector<int> signals{SIGKILL, SIGSTOP, 0};  // 0: rank 2 is never started
  const int size = 4;
  const std::vector<Announcement> addresses(signals.size());
  std::vector<std::vector<Member>> groups(signals.size());
  for (std::size_t i = 0; i < signals.size(); ++i) {
    for (int rank = 0; rank < size; ++rank) {
      if (rank == 2 && signals[i] == 0) continue;
      groups[i].emplace_back([&, i, rank]() -> std::string {
        const auto group = comm::make_store(addresses[i].wait(), rank, size, {rank == 2 ? kLong : kDeadline});
        at::Tensor tensor = at::ones({3});
        group->all_reduce(tensor);
        if (rank == 2) ::raise(signals[i]);
        group->all_reduce(tensor);
        return "nothing thrown";
      });
    }
  }
  std::vector<std::unique_ptr<comm::Rendezvous>> meetings;
  for (std::size_t i = 0; i < signals.size(); ++i) {
    meetings.push_back(comm::make_store_rendezvous("127.0.0.1"));
    addresses[i].tell(meetings.back()->address(), size);
  }
  for (std::size_t i = 0; i < signals.size(); ++i) {
    CAPTURE(signals[i]);
    const std::string call = signals[i] == 0 ? "0" : "2";
    for (std::size_t at = 0; at < groups[i].size(); ++at) {
      if (at == 2 && signals[i] != 0) continue;
      const std::string outcome = groups[i][at].outcome(kLong);
      CHECK_MESSAGE(contains(outcome, "rank 2 of 4 did not come within 4000 ms to call " + call), outcome);
    }
  }
  const auto outcomes = with_store(2, [&](const std::string& address, int rank) -> std::string {
    comm::make_store(address, rank, 4, {kShort});
    return "nothing thrown";
  });
  for (const std::string& outcome : outcomes) CHECK_MESSAGE(contains(outcome, "2, 3 of 4 did not come"), outcome);
}

TEST_CASE("members leave within the deadline when the store's process is killed or frozen") {
  for (const int number : {SIGKILL, SIGSTOP}) {
    CAPTURE(number);
    std::array<int, 2> channel{};
    REQUIRE(::pipe(channel.data()) == 0);
    const nightreel::base::Fd reader(channel[0]);
    const nightreel::base::Fd writer(channel[1]);
    Member server([&]() -> std::string {
      const comm::StoreServer store("127.0.0.1");
      const std::string line = store.address();
      if (::write(writer.get(), line.data(), line.size()) < 0) return "no pipe";
      ::pause();  // until it is killed
      return "";
    });
    std::array<char, 64> buffer{};
    const ssize_t got = ::read(reader.get(), buffer.data(), buffer.size());
    REQUIRE(got > 0);
    const std::string address(buffer.data(), static_cast<std::size_t>(got));
    std::vector<Member> members;
    for (int rank = 0; rank < 2; ++rank) {
      members.emplace_back([&, rank]() -> std::string {
        const auto group = comm::make_store(address, rank, 2, {kDeadline});
        at::Tensor tensor = at::ones({3});
        group->all_reduce(tensor);
        if (::write(writer.get(), "x", 1) != 1) return "no pipe";
        while (true) group->all_reduce(tensor);
      });
    }
    for (int rank = 0; rank < 2; ++rank) REQUIRE(::read(reader.get(), buffer.data(), 1) == 1);
    server.signal(number);
    const Stopwatch watch;
    for (Member& member : members) {
      const std::string outcome = member.outcome(kLong);
      CHECK_MESSAGE(contains(outcome, "lost the store, which lives in rank 0's process"), outcome);
    }
    CHECK(watch.seconds() < 30);
    if (number != SIGSTOP) continue;
    Member late([&]() -> std::string {
      comm::make_store(address, 0, 1, {kShort});
      return "nothing thrown";
    });
    const std::string outcome = late.outcome(kLong);
    CHECK_MESSAGE(contains(outcome, "no answer within 600 ms"), outcome);
  }
}

TEST_CASE("a wrong address, a rank twice, and two sizes of one group are errors") {
  for (const char* address : {"", "localhost", "127.0.0.1:", "127.0.0.1:x", ":80", "127.0.0.1:70000"}) {
    CAPTURE(address);
    CHECK_THROWS_AS(comm::make_store(address, 0, 1, {kShort}), nightreel::base::Error);
  }
  CHECK_THROWS_AS(comm::make_store("127.0.0.1:80", 2, 2, {kShort}), nightreel::base::Error);
  CHECK_THROWS_AS(comm::make_store_rendezvous("not an address"), nightreel::base::Error);
  const Announcement meeting;
  std::vector<Member> members;
  for (int i = 0; i < 2; ++i) {
    members.emplace_back([&]() -> std::string {
      comm::make_store(meeting.wait(), 1, 2, {kLong});
      return "nothing thrown";
    });
  }
  auto rendezvous = comm::make_store_rendezvous("127.0.0.1");
  meeting.tell(rendezvous->address(), 2);
  int refused = 0;
  int waits = 0;  // the first one, for rank 0
  CHECK(comes([&] {
    refused = waits = 0;
    for (Member& member : members) {
      const std::string outcome = member.outcome(milliseconds(20));
      refused += contains(outcome, "has this rank already") ? 1 : 0;
      waits += outcome == "(no answer)" ? 1 : 0;
    }
    return refused > 0;
  }));
  CHECK(refused == 1);
  CHECK(waits == 1);
  members.clear();
  rendezvous.reset();
  for (int rank = 0; rank < 2; ++rank) {  // the second waits for a third
    members.emplace_back([&, rank]() -> std::string {
      comm::make_store(meeting.wait(), rank, 2 + rank, {kLong});
      return "nothing thrown";
    });
  }
  rendezvous = comm::make_store_rendezvous("127.0.0.1");
  meeting.tell(rendezvous->address(), 2);
  const std::string outcome = members[0].outcome(kLong);
  CHECK_MESSAGE(contains(outcome, "rank 1: join a group of 3"), outcome);
}

TEST_CASE("a group of one is the identity and checks like the others") {
  const auto single = comm::make_single();
  CHECK(every_verb(*single) == "");
  at::Tensor view = at::ones({2, 3}).t();
  CHECK_THROWS_AS(single->all_reduce(view), nightreel::base::Error);
  CHECK_THROWS_AS(single->broadcast(view, 1), nightreel::base::Error);
  CHECK_THROWS_AS(single->all_gather(at::scalar_tensor(1.0)), nightreel::base::Error);
  CHECK_THROWS_AS(single->shift(at::Tensor(), 1), nightreel::base::Error);
  CHECK_THROWS_AS(single->split(-1), nightreel::base::Error);
  CHECK(every_verb(*single->split(3)) == "");
  CHECK_THROWS_AS(single->all_to_all(at::Tensor()), nightreel::base::Error);
  single->finalize();
}
