// The members of a group as threads over a store on loopback: what one says, or cannot do, comes to all.
#include "render/agreement.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <mutex>

#include "nightreel/base/error.h"
#include "render/support.h"

using namespace nightreel;
using base::Error;
using base::ErrorKind;
using render::Agreement;
using render::Order;

namespace {

constexpr std::chrono::milliseconds kDeadline{1234};

/// What `work(agreement, rank)` returned on each of `size` members.
template <typename Work>
std::vector<std::string> agreed(int size, const Work& work) {
  std::vector<std::string> outcomes(static_cast<std::size_t>(size));
  const auto thrown = test::in_threads(size, [&](std::unique_ptr<comm::Communicator> group) {
    Agreement agreement(*group, at::kCPU, kDeadline);
    outcomes[static_cast<std::size_t>(group->rank())] = work(agreement, group->rank());
    group->finalize();
  });
  for (std::size_t rank = 0; rank < outcomes.size(); ++rank) outcomes[rank] += thrown[rank];
  return outcomes;
}

/// What together() threw, and after it whether the group still is one.
std::string together(Agreement& agreement, const std::function<void()>& work) {
  std::string text = test::thrown_text([&] { agreement.together(work); });
  agreement.together([] {});
  return text;
}

}  // namespace

TEST_CASE("what rank 0 tells all others hear, in its order") {
  const std::vector<Order> orders{{Order::Verb::wait, "", 0},
                                  {Order::Verb::render, "a", 1},
                                  {Order::Verb::begin, "job with \"quotes\" and ü", 18446744073709551615U},
                                  {Order::Verb::finish, "b", 2},
                                  {Order::Verb::end, "", 0}};
  for (const int size : {1, 2, 3}) {
    CAPTURE(size);
    const auto outcomes = agreed(size, [&](Agreement& agreement, int rank) {
      std::string wrong = agreement.leads() == (rank == 0) ? "" : "who leads; ";
      if (agreement.deadline() != kDeadline) wrong += "the deadline; ";
      for (const Order& order : orders) {
        if (rank == 0) {
          agreement.tell(order);
          continue;
        }
        const Order heard = agreement.hear();
        if (heard.verb != order.verb || heard.job != order.job || heard.token != order.token) wrong += order.job + "; ";
      }
      return wrong;
    });
    for (const std::string& outcome : outcomes) CHECK(outcome == "");
  }
}

TEST_CASE("what nobody fails at is done by all") {
  for (const int size : {1, 2, 3}) {
    std::mutex mutex;
    int done = 0;
    const auto outcomes = agreed(size, [&](Agreement& agreement, int) {
      return together(agreement, [&] {
        const std::lock_guard lock(mutex);
        ++done;
      });
    });
    for (const std::string& outcome : outcomes) CHECK(outcome == "");
    CHECK(done == size);
  }
}

TEST_CASE("what one or several members fail at fails on all, with the reason of the first of them and its rank") {
  struct Case {
    std::vector<int> failing;
    const char* expected;
  };
  const std::vector<Case> cases{{{0}, "job: no 0"},
                                {{1}, "job: rank 1 of the group: no 1"},
                                {{2}, "job: rank 2 of the group: no 2"},
                                {{2, 1}, "job: rank 1 of the group: no 1"},
                                {{0, 1, 2}, "job: no 0"}};
  for (const Case& one : cases) {
    CAPTURE(one.expected);
    const auto outcomes = agreed(3, [&](Agreement& agreement, int rank) {
      const bool fails = std::find(one.failing.begin(), one.failing.end(), rank) != one.failing.end();
      return together(agreement, [&] {
        if (fails) throw Error(ErrorKind::job, "no " + std::to_string(rank));
      });
    });
    for (const std::string& outcome : outcomes) CHECK(outcome == one.expected);
  }
  const auto outcomes = agreed(2, [](Agreement& agreement, int rank) {
    return together(agreement, [&] {
      if (rank == 1) throw Error(ErrorKind::job, "no");
    });
  });
  for (const std::string& outcome : outcomes) CHECK(outcome == "job: rank 1 of the group: no");
}

TEST_CASE("reasons keep their kind, are printable, and are cut where they are too long to travel") {
  const std::vector<std::pair<std::function<void()>, std::string>> cases{
      {[] { throw Error(ErrorKind::device_memory, "too \"little\"\n"); },
       "device_memory: rank 1 of the group: too \"little\"\\x0a"},
      {[] { throw std::runtime_error("a bug"); }, "internal: rank 1 of the group: a bug"},
      {[] { TORCH_CHECK(false, "a kernel"); }, "device: rank 1 of the group: a kernel"}};
  for (const auto& [work, expected] : cases) {
    const auto outcomes = agreed(2, [&work = work](Agreement& agreement, int rank) {
      return together(
          agreement, rank == 1 ? work : [] {});
    });
    for (const std::string& outcome : outcomes) CHECK(outcome == expected);
  }
  const auto outcomes = agreed(2, [](Agreement& agreement, int rank) {
    return together(agreement, [&] {
      if (rank == 1) throw Error(ErrorKind::job, std::string(100000, 'x'));
    });
  });
  for (const std::string& outcome : outcomes) {
    CHECK(outcome.size() > 2000);
    CHECK(outcome.size() < 2100);
  }
}

TEST_CASE("a group goes on after what all members threw at once, and after what they find out alike") {
  const auto outcomes = agreed(2, [](Agreement& agreement, int rank) -> std::string {
    try {
      agreement.together([&] {
        if (rank == 1) throw Error(ErrorKind::device, "of one alone");
      });
    } catch (const std::exception& e) {
      return Agreement::in_step(e) ? "in step" : "apart";
    }
    return "nothing thrown";
  });
  for (const std::string& outcome : outcomes) CHECK(outcome == "in step");
  for (const ErrorKind kind : {ErrorKind::interrupted, ErrorKind::job, ErrorKind::numeric, ErrorKind::storage}) {
    CHECK(Agreement::in_step(Error(kind, "")));
  }
  for (const ErrorKind kind :
       {ErrorKind::usage, ErrorKind::model, ErrorKind::environment, ErrorKind::queue, ErrorKind::renderer,
        ErrorKind::device, ErrorKind::device_memory, ErrorKind::comm, ErrorKind::internal}) {
    CHECK_FALSE(Agreement::in_step(Error(kind, "")));
  }
  CHECK_FALSE(Agreement::in_step(std::runtime_error("a bug")));
}

TEST_CASE("all go on from rank 0's state, whatever they have themselves") {
  pipeline::DenoiseState state;
  state.sampler.next_step = 5;
  state.latents_CFYX = at::arange(24, at::kFloat).reshape({4, 1, 2, 3}).div(7);
  state.sampler.tensors["last"] = at::ones({2, 2});
  state.sampler.tensors["order"] = at::full({}, 2.0F);
  pipeline::DenoiseState another = state;
  another.sampler.next_step = 99;
  another.latents_CFYX = at::zeros({4, 1, 2, 3});
  for (const int size : {1, 2, 3}) {
    for (const bool there : {true, false}) {
      CAPTURE(size);
      CAPTURE(there);
      const auto outcomes = agreed(size, [&](Agreement& agreement, int rank) -> std::string {
        std::optional<pipeline::DenoiseState> mine;
        if (rank == 0 && there) mine = state;
        if (rank == 1 && !there) mine = another;
        const auto same = agreement.same_state(mine);
        if (same.has_value() != there) return "there or not";
        if (!same) return "";
        std::string wrong = same->sampler.next_step == 5 ? "" : "next step; ";
        if (!at::equal(same->latents_CFYX, state.latents_CFYX)) wrong += "latents; ";
        if (same->sampler.tensors.size() != 2) wrong += "tensors; ";
        for (const auto& [name, tensor] : state.sampler.tensors) {
          if (!at::equal(same->sampler.tensors.at(name), tensor)) wrong += name + "; ";
        }
        return wrong;
      });
      for (const std::string& outcome : outcomes) CHECK(outcome == "");
    }
  }
}

TEST_CASE("a group has as much memory as the member that has least, and no limit where none has one") {
  struct Case {
    std::vector<std::uint64_t> bytes;
    std::uint64_t least;
  };
  for (const Case& one :
       std::vector<Case>{{{24, 80}, 24}, {{80, 24, 48}, 24}, {{0, 80}, 80}, {{0, 0, 0}, 0}, {{7}, 7}}) {
    const auto outcomes = agreed(static_cast<int>(one.bytes.size()), [&](Agreement& agreement, int rank) {
      return std::to_string(agreement.least_memory(one.bytes[static_cast<std::size_t>(rank)]));
    });
    for (const std::string& outcome : outcomes) CHECK(outcome == std::to_string(one.least));
  }
}

TEST_CASE("members that are not in step hear so at once, and the group is of no use then") {
  const auto outcomes = agreed(2, [](Agreement& agreement, int rank) -> std::string {
    try {
      rank == 0 ? agreement.together([] {}) : static_cast<void>(agreement.hear());
    } catch (const Error& e) {
      return std::string(base::traits(e.kind()).name) + (Agreement::in_step(e) ? " in step; " : " apart; ");
    }
    return "nothing thrown";
  });
  for (const std::string& outcome : outcomes)
    CHECK_MESSAGE(outcome.rfind("comm apart; comm: unusable", 0) == 0, outcome);
}
