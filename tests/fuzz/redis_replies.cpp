// What a server on a Redis' address may answer. The first byte chooses the call, the rest is the replies, a byte 0
// between them; after the last one the connection ends.
#include <array>
#include <vector>

#include "fuzz/fuzz.h"
#include "fuzz/reply_server.h"
#include "nightreel/queue/redis_queue.h"

namespace nightreel::fuzz {
namespace {

using queue::RedisQueue;

queue::ClaimRequest claimant() {
  queue::ClaimRequest who;
  who.out = "/out";
  who.model = "digest";
  who.run = "run";
  return who;
}

queue::Submission one_job() {
  queue::Submission job;
  job.id = "job";
  job.spec = "{}";
  return job;
}

queue::InboxJob never_a_job(const std::string&) {
  return {std::nullopt, "no job"};
}

const queue::LeaseRef kLease{"job", "7"};

const std::array kCalls{
    +[](RedisQueue& q) { q.submit({one_job()}, {}); },
    +[](RedisQueue& q) { q.take_inbox(never_a_job, "/out"); },
    +[](RedisQueue& q) { q.bind_model("digest"); },
    +[](RedisQueue& q) { q.claim(claimant()); },
    +[](RedisQueue& q) { q.renew(kLease, {}); },
    +[](RedisQueue& q) { q.begin_publish(kLease); },
    +[](RedisQueue& q) {
      q.complete(kLease, {"videos/job.mp4", "sha256", 1});
    },
    +[](RedisQueue& q) {
      q.fail(kLease, {"storage", "full", false, false});
    },
    +[](RedisQueue& q) { q.release(kLease, true); },
    +[](RedisQueue& q) { q.cancel("job"); },
    +[](RedisQueue& q) { q.retry("job"); },
    +[](RedisQueue& q) { q.reap(); },
    +[](RedisQueue& q) { q.counts("run"); },
    +[](RedisQueue& q) { q.list(queue::JobState::failed); },
    +[](RedisQueue& q) { q.lookup({"job"}); },
    +[](RedisQueue& q) { q.ping(); },
    +[](RedisQueue& q) { q.check_rights(); },
    +[](RedisQueue& q) { q.highest_pending(); },
    +[](RedisQueue& q) { q.put_back("job", "sha256", std::chrono::milliseconds(0)); },
    +[](RedisQueue& q) { q.note_standing("job", "sha256", "stamp"); },
    +[](RedisQueue& q) { q.incarnation(); },
    +[](RedisQueue& q) {
      q.bring_back({{one_job(), 1}}, {"run", "/out", "digest", "before"});
    },
    +[](RedisQueue& q) { q.set_content("run"); },
};

queue::RedisQueueOptions at(const std::string& socket, bool check_server) {
  queue::RedisQueueOptions options;
  queue::RedisAddress address;
  address.unix_path = socket;
  options.redis.addresses = {address};
  options.redis.check_server = check_server;
  options.redis.command_timeout = std::chrono::milliseconds(10);
  return options;
}

}  // namespace
}  // namespace nightreel::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nightreel;
  if (size == 0) return 0;
  static fuzz::ReplyServer server(fuzz::scratch() / "redis");
  server.say(fuzz::text_of(data + 1, size - 1));
  const bool check_server = data[0] >= 128;
  queue::RedisQueue queue(fuzz::at(server.path(), check_server));
  queue::Patience once;
  once.retry = false;
  queue.set_patience(once);
  using base::ErrorKind;
  fuzz::answers_well({ErrorKind::queue, ErrorKind::environment, ErrorKind::usage},
                     [&] { fuzz::kCalls[(data[0] & 127U) % fuzz::kCalls.size()](queue); });
  return 0;
}
