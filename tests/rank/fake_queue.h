// A job list that answers what a test tells it to. Test code of the rank layer.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <utility>

#include "nightreel/queue/redis.h"

namespace nightreel::test {

struct FakeQueue : queue::JobQueue {
  queue::Fence fence = queue::Fence::open;
  queue::Counts counted;
  std::map<std::string, queue::JobView> views;
  std::string data = "data-1";                                               // the incarnation
  std::map<std::string, std::pair<std::int64_t, std::string>> brought_back;  // attempts, incarnation before
  bool away = false;
  std::chrono::milliseconds record_age{0};  // of every done job

  void reach() const {
    if (away) throw queue::RedisError(queue::RedisFault::connection, "Redis is away");
  }
  std::vector<queue::Submitted> submit(const std::vector<queue::Submission>&, const queue::SubmitOptions&) override {
    return {};
  }
  queue::InboxResult take_inbox(const queue::InboxValidator&, const std::string&) override { return {}; }
  void bind_model(const std::string&) override {}
  queue::ClaimResult claim(const queue::ClaimRequest&) override { return {}; }
  std::optional<std::int64_t> highest_pending() override { return {}; }
  queue::Renewed renew(const queue::LeaseRef&, const queue::Progress&) override { return {}; }
  queue::Fence begin_publish(const queue::LeaseRef&) override {
    reach();
    return fence;
  }
  bool complete(const queue::LeaseRef&, const queue::Published&) override { return true; }
  std::optional<queue::JobState> fail(const queue::LeaseRef&, const queue::Failure&) override { return {}; }
  std::optional<queue::JobState> release(const queue::LeaseRef&, bool) override { return {}; }
  queue::Cancelled cancel(const std::string&) override { return queue::Cancelled::unknown; }
  queue::Retried retry(const std::string&) override { return queue::Retried::unknown; }
  queue::PutBack put_back(const std::string& id, const std::string& sha256, std::chrono::milliseconds age) override {
    reach();
    if (views[id].state != queue::JobState::done || views[id].sha256 != sha256) return queue::PutBack::changed;
    if (record_age < age) return queue::PutBack::young;
    views[id].state = queue::JobState::pending;
    return queue::PutBack::pending;
  }
  void note_standing(const std::string& id, const std::string&, const std::string& stamp) override {
    reach();
    views[id].stamp = stamp;
  }
  std::size_t reap() override { return 0; }
  queue::Counts counts(const std::string&) override {
    reach();
    return counted;
  }
  std::vector<queue::JobView> list(queue::JobState) override { return {}; }
  std::vector<queue::JobView> lookup(const std::vector<std::string>& ids) override {
    reach();
    std::vector<queue::JobView> out;
    for (const auto& id : ids) {
      out.push_back(views.count(id) > 0 ? views.at(id) : queue::JobView{});
      out.back().id = id;
    }
    return out;
  }
  std::string incarnation() override { return data; }
  std::vector<queue::BroughtBack> bring_back(const std::vector<queue::LostJob>& jobs,
                                             const queue::BringBack& options) override {
    reach();
    for (const auto& lost : jobs) {
      brought_back[lost.job.id] = {lost.attempts, options.before};
      queue::JobView& view = views[lost.job.id];
      view.state = queue::JobState::pending;
      view.attempts = lost.attempts;
      view.identity = lost.job.identity;
    }
    return std::vector<queue::BroughtBack>(jobs.size(), queue::BroughtBack::back);
  }
  void set_content(const std::string&) override { counted.content = true; }
};

}  // namespace nightreel::test
