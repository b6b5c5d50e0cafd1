// Which job a rank gets when its weights are merged with LoRAs.
#include <doctest/doctest.h>
#include <nightreel/queue/lua_scripts.h>

#include "nightreel/job/lora_set.h"
#include "nightreel/queue/submit_jobs.h"
#include "queue/queue_fixture.h"

using namespace nightreel;
using namespace nightreel::queue;
using Fixture = test::QueueFixture;

namespace {

Submission of(const std::string& set, const std::string& id, std::int64_t priority = 0) {
  Submission one = test::a_job(id, priority);
  one.lora_set = set;
  return one;
}

ClaimRequest merged(const std::string& set, std::int64_t in_a_row = 1) {
  ClaimRequest request = test::request();
  request.lora_set = set;
  request.in_a_row = in_a_row;
  return request;
}

}  // namespace

TEST_CASE("a job is submitted with the name of its LoRA set") {
  job::Job one;
  CHECK(submission_of(one).lora_set.empty());
  one.loras = {{"/a.safetensors", 1.0, "both"}};
  CHECK(submission_of(one).lora_set == job::lora_set(one.loras));
  CHECK(!submission_of(one).lora_set.empty());
}

TEST_CASE_FIXTURE(Fixture, "among jobs of equal priority a rank gets those of its set first") {
  queue.submit({of("x", "x1"), of("", "n1"), of("y", "y1"), of("x", "x2"), of("", "n2"), of("y", "top", 1)}, {});
  CHECK(claim(merged("x")).ref.id == "top");  // priority goes before
  const Lease first = claim(merged("y"));
  CHECK(first.ref.id == "y1");
  CHECK(first.lora_set == "y");
  CHECK(claim(merged("")).ref.id == "n1");  // no LoRA is a set, too
  CHECK(claim(merged("none of these")).ref.id == "x1");
  CHECK(claim(merged("x")).ref.id == "x2");
  CHECK(claim(merged("x")).ref.id == "n2");
}

TEST_CASE_FIXTURE(Fixture, "after sixteen of its set in a row a rank takes who is first in line") {
  std::vector<Submission> jobs{of("", "waits")};
  for (int i = 0; i < 40; ++i) jobs.push_back(of("x", "x" + std::to_string(i)));
  queue.submit(jobs, {});
  std::string set = "x";
  std::int64_t in_a_row = 0;
  int before = 0;
  for (std::string id; id != "waits"; ++before) {
    const Lease lease = claim(merged(set, in_a_row));
    id = lease.ref.id;
    in_a_row = lease.lora_set == set ? in_a_row + 1 : 1;
    set = lease.lora_set;
  }
  CHECK(before == 17);
  CHECK(claim(merged("x", 16)).ref.id == "x16");  // nobody of another set waits
}

TEST_CASE_FIXTURE(Fixture, "a priority's neighbours do not count as equal") {
  for (const std::int64_t priority : {-kMaxPriority, std::int64_t{-1}, std::int64_t{0}, kMaxPriority - 1}) {
    const std::string name = std::to_string(priority);
    queue.submit({of("x", "low" + name, priority), of("", "high" + name, priority + 1)}, {});
    CHECK(claim(merged("x")).ref.id == "high" + name);
    CHECK(claim(merged("")).ref.id == "low" + name);
  }
}

TEST_CASE_FIXTURE(Fixture, "whatever takes a job out of the line takes it out of its set's, and back") {
  queue.submit({of("", "n"), of("x", "a"), of("x", "b"), of("x", "c"), of("x", "d")}, {});
  queue.cancel("a");
  const Lease b = claim(merged("x"));
  CHECK(b.ref.id == "b");
  queue.release(b.ref);
  CHECK(claim(merged("x")).ref.id == "b");
  expire("b");
  queue.reap();
  const Lease again = claim(merged("x"));
  CHECK(again.ref.id == "b");
  queue.fail(again.ref, {"storage", "m", false, false});
  due("b");
  const Lease due_again = claim(merged("x"));
  CHECK(due_again.ref.id == "b");
  queue.fail(due_again.ref, {"job", "m", true, false});
  SubmitOptions overwrite;
  overwrite.overwrite = true;
  Submission other = of("y", "c");
  other.identity = "changed";
  queue.submit({other}, overwrite);
  raw.command({"DEL", test::kPrefix + "job:d"});
  queue.retry("a");
  CHECK(claim(merged("x")).ref.id == "a");  // neither b, nor c, nor d
  CHECK(claim(merged("x")).ref.id == "n");
  CHECK(claim(merged("y")).ref.id == "c");
  CHECK(!queue.claim(merged("x")).lease);
  CHECK(raw.command({"KEYS", test::kPrefix + "pend*"}).array().empty());
}

TEST_CASE_FIXTURE(Fixture, "a claim that is sent again gets the same job, whatever set the rank names by then") {
  queue.submit({of("x", "a"), of("y", "b")}, {});
  Script script("claim", lua::k_claim);
  const auto claim_raw = [&](const std::string& nonce, const std::string& set) {
    return raw.eval(script, test::kPrefix, {"w", nonce, "30000", "3", "m1", "/out", "r", "h", "0", "1", set, "1"});
  };
  const Reply first = claim_raw("n1", "y");
  CHECK(first.at(1).text() == "b");
  const Reply again = claim_raw("n1", "x");
  CHECK(again.at(1).text() == "b");
  CHECK(again.at(2).text() == first.at(2).text());
  CHECK(again.at(9).text() == "y");
  CHECK(claim_raw("n2", "y").at(1).text() == "a");
}
