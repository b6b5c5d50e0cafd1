// Before a renderer has its model: whom it loads it with, and where from.
#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>
#include <future>
#include <set>
#include <stdexcept>

#include "nightreel/base/file.h"
#include "render/load_group.h"
#include "render/loading.h"
#include "render/support.h"
#include "support/error.h"
#include "support/temp_folder.h"

using namespace nightreel;
using test::contains;

namespace fs = std::filesystem;

namespace {

/// A renderer that waits for its group, and the end of its pipes that its rank has.
struct WaitingToLoad {
  test::TempFolder folder;
  test::Wire requests;
  test::Wire wire;
  base::LineReader reader{requests.out(), protocol::kMaxLine};
  render::Groups groups;
  render::Events events{wire.in()};
  test::Heard heard{wire.out()};
  base::Logger log = base::Logger::to_stderr_and_file(base::LogFormat::text, "renderer", folder / "log");
  std::future<std::unique_ptr<comm::Communicator>> met =
      std::async(std::launch::async, [this] { return render::meet_to_load(reader, groups, events, log); });

  ~WaitingToLoad() { requests.close_in(); }
  /// What it came back with. Throws std::runtime_error after kHang.
  std::unique_ptr<comm::Communicator> group() {
    if (met.wait_for(test::kHang) != std::future_status::ready) throw std::runtime_error("it still waits");
    return met.get();
  }
  void send(const std::string& line) { base::write_line(requests.in(), line); }
  void join(const std::string& address, int size, int deadline_ms) {
    protocol::GroupRequest request = test::seat_at(address, 0, size);
    request.deadline_ms = deadline_ms;
    send(protocol::encode(request));
  }
  std::string said() const { return base::read_file(folder / "log", 1U << 20U); }
};

/// A model's folder as far as copies of it go.
struct Weights {
  test::TempFolder folder;
  std::string model = folder / "model";
  std::string stage = folder / "stage";

  Weights() {
    folder.write("model/model_index.json", "{}");
    folder.write("model/vae/a.safetensors", std::string(100000, 'a'));
    folder.write("model/deep/er/b.json", "b");
    folder.write("model/.git/config", "not weights");
    folder.write("elsewhere/blob", "linked");
    fs::create_symlink(folder / "elsewhere/blob", model + "/vae/link.safetensors");
  }
  base::Logger log() const {
    return base::Logger::to_stderr_and_file(base::LogFormat::text, "renderer", folder / "log");
  }
  std::string staged() const { return render::stage_weights(model, stage, log()); }
  std::string said() const { return base::read_file(folder / "log", 1U << 20U); }
  std::size_t copies() const {
    std::size_t count = 0;
    for (const auto& entry : fs::directory_iterator(stage)) count += entry.is_directory() ? 1 : 0;
    return count;
  }
};

std::string text_of(const std::string& path) {
  return base::read_file(path, 1U << 20U);
}

std::size_t times_in(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

}  // namespace

TEST_CASE("who waits for a group to load with answers where to meet, passes over the rest, and joins") {
  WaitingToLoad one;
  one.send(protocol::encode(test::request_for("early")));
  one.send(protocol::encode_plain("cancel", {{"job", "early"}}));
  one.send(protocol::encode_plain("probe"));
  one.join("", 1, 60000);
  const std::string address = one.heard.wait_for({{"type", "rendezvous"}, {"joined", false}}).at("address");
  one.join(address, 1, 60000);
  const auto group = one.group();
  REQUIRE(group);
  CHECK(group->size() == 1);
  one.heard.wait_for({{"type", "rendezvous"}, {"address", address}, {"joined", true}});
  CHECK_FALSE(one.heard.has({{"type", "failed"}}));
}

TEST_CASE("a group whose last member never comes is no group: the weights are read alone") {
  WaitingToLoad one;
  const auto rendezvous = comm::make_store_rendezvous("127.0.0.1");
  one.join(rendezvous->address(), 2, 30);
  const auto group = one.group();
  CHECK(group == nullptr);
  CHECK(contains(one.said(), "reading the weights alone, since the group did not meet"));
}

TEST_CASE("who is told to end, or left, while it waits for its group ends") {
  for (const bool told : {true, false}) {
    WaitingToLoad one;
    told ? one.send(protocol::encode_plain("shutdown")) : one.requests.close_in();
    CHECK(test::thrown_text([&] { one.group(); }) == "interrupted: told to end before loading");
  }
}

TEST_CASE("several renderers of a host copy the weights once, and all read the copy") {
  const Weights weights;
  std::vector<std::future<std::string>> threads;
  for (int i = 0; i < 3; ++i) threads.push_back(std::async(std::launch::async, [&] { return weights.staged(); }));
  std::set<std::string> places;
  for (auto& thread : threads) places.insert(thread.get());
  REQUIRE(places.size() == 1);
  const std::string copy = *places.begin();
  CHECK(fs::path(copy).parent_path() == weights.stage);
  CHECK(text_of(copy + "/model_index.json") == "{}");
  CHECK(text_of(copy + "/vae/a.safetensors") == std::string(100000, 'a'));
  CHECK(text_of(copy + "/deep/er/b.json") == "b");
  CHECK(text_of(copy + "/vae/link.safetensors") == "linked");
  CHECK_FALSE(fs::is_symlink(copy + "/vae/link.safetensors"));
  CHECK_FALSE(fs::exists(copy + "/.git"));
  CHECK(times_in(weights.said(), "copied") == 1);
  const auto before = fs::last_write_time(copy + "/vae/a.safetensors");
  CHECK(weights.staged() == copy);
  CHECK(fs::last_write_time(copy + "/vae/a.safetensors") == before);
  CHECK(times_in(weights.said(), "copied") == 1);
}

TEST_CASE("a model that has changed is copied anew, beside what was there") {
  const Weights weights;
  const std::string copy = weights.staged();
  fs::create_directory(weights.stage + "/old.partial");  // of another model: nobody's business
  weights.folder.write("model/model_index.json", "{\"changed\": 1}");
  const std::string changed = weights.staged();
  CHECK(changed != copy);
  CHECK(text_of(changed + "/model_index.json") == "{\"changed\": 1}");
  CHECK(text_of(copy + "/model_index.json") == "{}");
  CHECK(weights.copies() == 3);
}

TEST_CASE("a copy that was begun and never ended is made anew") {
  const Weights weights;
  const std::string copy = weights.staged();
  fs::rename(copy, copy + ".partial");
  weights.folder.write("stage/" + fs::path(copy).filename().string() + ".partial/vae/a.safetensors", "torn");
  CHECK(weights.staged() == copy);
  CHECK(text_of(copy + "/vae/a.safetensors") == std::string(100000, 'a'));
  CHECK(weights.copies() == 1);
  CHECK(times_in(weights.said(), "copied") == 2);
}

TEST_CASE("where nothing can be copied the weights are read from where they are, with a warning") {
  const Weights weights;
  weights.folder.write("stage", "a file in the way");
  CHECK(weights.staged() == weights.model);
  CHECK(contains(weights.said(), "reading from " + weights.model + " itself"));
  const auto missing = render::stage_weights(weights.folder / "none", weights.folder / "other", weights.log());
  CHECK(missing == weights.folder / "none");
}
