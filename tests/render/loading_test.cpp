// A renderer that dies while a group loads together: the others say so, read everything themselves, and have it all.
#include "render/loading.h"

#include <doctest/doctest.h>

#include <csignal>
#include <deque>
#include <fstream>
#include <iterator>

#include "comm/failing_member.h"
#include "comm/members.h"
#include "nightreel/card/card.h"
#include "nightreel/model/checkpoint.h"
#include "nightreel/weights/shared_load.h"
#include "support/checked_device.h"
#include "support/golden.h"
#include "support/temp_folder.h"

using namespace nightreel;

namespace {

constexpr int kSize = 3;
constexpr std::chrono::seconds kDeadline{10};  // waited for once: whoever is alive comes within it on any machine
constexpr std::chrono::seconds kLong{120};

std::string text_in(const std::string& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// What a member that lives has and says in the end.
std::string loaded(std::unique_ptr<comm::Communicator> group, const std::string& log_file) {
  const std::string folder = test::golden_path("experts/model");
  const auto log = base::Logger::to_stderr_and_file(base::LogFormat::text, "renderer", log_file);
  const render::Loaded loaded = render::load_checkpoint(card::read(folder), {}, std::move(group), log);
  std::string wrong;
  if (loaded.digest != model::model_digest(folder)) wrong += "another digest; ";
  if (loaded.report.shared) wrong += "said to be shared; ";
  if (loaded.report.bytes_read != weights::stored_bytes(folder)) wrong += "not all read; ";
  return wrong + text_in(log_file);
}

}  // namespace

TEST_CASE("a member that dies or freezes in the middle of loading is named, and the others read alone") {
  struct Case {
    int signal = 0;
    int gather = 0;
    test::TempFolder logs;
    test::Announcement address;
    std::vector<test::Member> members;
    std::unique_ptr<comm::Rendezvous> rendezvous;
  };
  std::deque<Case> cases;  // all at once: what takes time is to wait for who does not come
  for (const int signal : {SIGKILL, SIGSTOP}) {
    for (const int gather : {0, 40}) {
      Case& one = cases.emplace_back();
      one.signal = signal;
      one.gather = gather;
    }
  }
  for (Case& one : cases) {
    for (int rank = 0; rank < kSize; ++rank) {
      one.members.emplace_back([&one, rank] {
        auto group = comm::make_store(one.address.wait(), rank, kSize, {kDeadline});
        auto member = std::make_unique<test::FailingMember>(std::move(group), rank == 1 ? one.gather : -1, one.signal);
        return loaded(std::move(member), one.logs / ("renderer-" + std::to_string(rank) + ".jsonl"));
      });
    }
  }
  for (Case& one : cases) {  // after all forks, since each has a thread
    one.rendezvous = comm::make_store_rendezvous("127.0.0.1");
    one.address.tell(one.rendezvous->address(), kSize);
  }
  for (Case& one : cases) {
    CAPTURE(one.signal);
    CAPTURE(one.gather);
    for (const std::size_t rank : {0, 2}) {
      const std::string outcome = one.members[rank].outcome(kLong);
      CHECK_MESSAGE(outcome.rfind("{", 0) == 0, outcome);
      CHECK_MESSAGE(outcome.find("reading the weights alone") != std::string::npos, outcome);
      CHECK_MESSAGE(outcome.find("rank 1 of 3 did not come within 10000 ms") != std::string::npos, outcome);
    }
  }
}

TEST_CASE("beside a GPU the others do not go on: their ranks start other renderers, since work is under way here") {
  const test::TempFolder logs;
  const test::Announcement address;
  std::vector<test::Member> members;
  for (int rank = 0; rank < kSize; ++rank) {
    members.emplace_back([&, rank] {
      auto group = comm::make_store(address.wait(), rank, kSize, {kDeadline});
      auto member = std::make_unique<test::FailingMember>(std::move(group), rank == 1 ? 40 : -1, SIGKILL);
      pipeline::PipelineOptions options;
      options.device = test::checked_device();
      const std::string log_file = logs / ("renderer-" + std::to_string(rank) + ".jsonl");
      const auto log = base::Logger::to_stderr_and_file(base::LogFormat::text, "renderer", log_file);
      try {
        render::load_checkpoint(card::read(test::golden_path("experts/model")), options, std::move(member), log);
        return std::string("loaded");
      } catch (const base::Error& e) {
        return std::string(base::traits(e.kind()).name) + ": " + e.what();
      }
    });
  }
  const auto rendezvous = comm::make_store_rendezvous("127.0.0.1");
  address.tell(rendezvous->address(), kSize);
  for (const std::size_t rank : {0, 2}) {
    const std::string outcome = members[rank].outcome(kLong);
    CHECK_MESSAGE(outcome.rfind("comm: ", 0) == 0, outcome);
    CHECK_MESSAGE(outcome.find("rank 1 of 3 did not come") != std::string::npos, outcome);
  }
}
