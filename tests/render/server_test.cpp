// The renderer's life on its two pipes, with a maker that computes nothing: what is asked, what is answered, and how it
// ends. That all this is so of a process, too, is shown by tests/e2e/render_test.py.
#include "nightreel/render/server.h"

#include <doctest/doctest.h>

#include "nightreel/base/error.h"
#include "render/server_rig.h"
#include "support/temp_folder.h"

using namespace nightreel;
using base::Error;
using base::ErrorKind;
using protocol::Json;
using test::Diary;
using test::FakeMaker;
using test::ServerRig;

namespace {

/// A renderer whose maker does `on_call`, and its diary.
struct FakeRenderer {
  std::shared_ptr<Diary> diary = std::make_shared<Diary>();
  ServerRig rig;

  explicit FakeRenderer(const std::function<void(const FakeMaker::Call&)>& on_call = {})
      : rig(test::serve_fake([this, on_call](FakeMaker& maker) {
          maker.diary = diary;
          maker.on_call = on_call;
        })) {}
};

Json group_fields(const std::string& address, int rank, int size, bool stay = true) {
  return {{"backend", "store"}, {"address", address},   {"rank", rank},
          {"size", size},       {"deadline_ms", 60000}, {"stay", stay}};
}

/// Two renderers that render together.
struct TwoRenderers {
  FakeRenderer first;
  FakeRenderer second;

  using OnCall = std::function<void(const FakeMaker::Call&)>;
  explicit TwoRenderers(const OnCall& on_first = {}, const OnCall& on_second = {})
      : first(on_first), second(on_second) {
    first.rig.send("group", group_fields("", 0, 2));
    const std::string address = first.rig.heard.wait_for({{"type", "rendezvous"}, {"joined", false}}).at("address");
    first.rig.send("group", group_fields(address, 0, 2));
    second.rig.send("group", group_fields(address, 1, 2));
    for (FakeRenderer* one : {&first, &second}) one->rig.heard.wait_for({{"type", "rendezvous"}, {"joined", true}});
  }
  /// Who follows is told first.
  void render(const std::string& job) {
    second.rig.render(job);
    first.rig.render(job);
  }
  /// Both are told to end before either is waited for.
  std::vector<int> end() {
    for (FakeRenderer* one : {&first, &second}) one->rig.close_requests();
    return {first.rig.code(), second.rig.code()};
  }
};

int code_of(ErrorKind kind) {
  return base::traits(kind).exit_code;
}

}  // namespace

TEST_CASE("a renderer says that it is ready, then that it lives, and ends in good order when it is told, or left") {
  for (const bool told : {true, false}) {
    FakeRenderer one;
    one.rig.heard.wait_for({{"type", "heartbeat"}});
    if (told) CHECK(one.rig.end() == 0);
    if (!told) one.rig.close_requests();
    if (!told) CHECK(one.rig.code() == 0);
    const auto& said = one.rig.heard.to_the_end();
    CHECK(said.front().at("type") == "ready");
    CHECK(said.front().at("model_digest") == "0123456789abcdef0123456789abcdef");
    for (std::size_t i = 1; i < said.size(); ++i) CHECK(said[i].at("type") == "heartbeat");
  }
}

TEST_CASE("a video is rendered, written with what the request says, and done with what both have come to") {
  FakeRenderer one;
  one.rig.render("a", 42);
  const Json done = one.rig.heard.wait_for({{"type", "done"}, {"job", "a"}});
  CHECK(done.at("token") == 42);
  CHECK(done.at("frames") == 5);
  CHECK(done.at("height") == 16);
  CHECK(done.at("width") == 8);
  CHECK(done.at("resumed_step") == 3);
  CHECK(done.at("timings") == Json{{"denoise", 1.5}, {"encode", 0.5}});
  CHECK(one.rig.heard.has({{"type", "progress"}, {"job", "a"}, {"token", 42}, {"stage", "encode"}}));
  CHECK(one.rig.end() == 0);
  CHECK(one.diary->all() == std::vector<std::string>{"render a", "write a", "files of a: a.mp4 a.jpg a.h5 latents 23"});
}

TEST_CASE("one video is rendered while the one before is written") {
  Diary test;
  FakeRenderer one([&](const FakeMaker::Call& call) {
    if (call.verb == "render") test.add("rendering " + call.job);
    if (call.verb == "write" && call.job == "a") test.wait_for("rendering b");
  });
  one.rig.render("a");
  one.rig.render("b");
  for (const char* job : {"a", "b"}) one.rig.heard.wait_for({{"type", "done"}, {"job", job}});
  CHECK(one.rig.end() == 0);
}

TEST_CASE("the next job is prepared while one is rendered") {
  Diary test;
  FakeRenderer one([&](const FakeMaker::Call& call) {
    if (call.verb == "prepare") test.add("prepared " + call.job);
    if (call.verb == "render" && call.job == "a") test.wait_for("prepared b");
  });
  one.rig.render("a");
  one.rig.render("b");
  for (const char* job : {"a", "b"}) one.rig.heard.wait_for({{"type", "done"}, {"job", job}});
  CHECK(one.rig.end() == 0);
}

TEST_CASE("what cannot be prepared, rendered or written fails that job alone") {
  FakeRenderer one([](const FakeMaker::Call& call) {
    if (call.job == "no picture" && call.verb == "prepare") throw Error(ErrorKind::job, "image: none");
    if (call.job == "a bug" && call.verb == "prepare") throw std::runtime_error("a bug");
    if (call.job == "not finite" && call.verb == "render") throw Error(ErrorKind::numeric, "not finite");
    if (call.job == "no folder" && call.verb == "write") throw Error(ErrorKind::storage, "no folder/x.mp4");
  });
  for (const char* job : {"no picture", "a bug", "not finite", "no folder", "good"}) one.rig.render(job, 9);
  one.rig.heard.wait_for({{"type", "done"}, {"job", "good"}, {"token", 9}});
  CHECK(one.rig.end() == 0);
  one.rig.heard.to_the_end();
  const auto failed = [&](const char* job, const char* kind, const char* why) {
    return one.rig.heard.has({{"type", "failed"}, {"job", job}, {"token", 9}, {"kind", kind}, {"message", why}});
  };
  CHECK(failed("no picture", "job", "image: none"));
  CHECK(failed("a bug", "internal", "a bug"));
  CHECK(failed("not finite", "numeric", "not finite"));
  CHECK(failed("no folder", "storage", "no folder/x.mp4"));
}

TEST_CASE("a job that is cancelled on request ends, one that is unknown is nobody's, and the next one is rendered") {
  FakeRenderer one([](const FakeMaker::Call& call) {
    if (call.verb == "render" && call.job == "long") test::work_until_cancelled(*call.observer);
  });
  one.rig.render("long");
  one.rig.render("waiting");
  one.rig.render("next");
  one.diary->wait_for("render long");
  for (const char* job : {"unknown", "waiting", "long"}) one.rig.send("cancel", {{"job", job}});
  for (const char* job : {"long", "waiting"}) {
    one.rig.heard.wait_for({{"type", "failed"}, {"job", job}, {"kind", "interrupted"}});
  }
  one.rig.heard.wait_for({{"type", "done"}, {"job", "next"}});
  CHECK(one.rig.end() == 0);
  CHECK(one.diary->all("render") == std::vector<std::string>{"render long", "render next"});
}

TEST_CASE("a job that is to be stopped on request hears so, and what it says of its state is passed on") {
  FakeRenderer one([](const FakeMaker::Call& call) {
    if (call.verb != "render") return;
    if (!test::comes([&] { return call.observer->stop_asked(); })) return;
    call.observer->saved(5);
    throw Error(ErrorKind::interrupted, "stopped after step 5");
  });
  one.rig.render("video", 2);
  one.rig.send("checkpoint_and_stop", {{"job", "video"}});
  one.rig.heard.wait_for({{"type", "checkpoint"}, {"job", "video"}, {"token", 2}, {"step", 5}});
  one.rig.heard.wait_for({{"type", "failed"}, {"job", "video"}, {"token", 2}, {"kind", "interrupted"}});
  CHECK(one.rig.end() == 0);
}

TEST_CASE("told to end with work in hand it interrupts what is rendered and what waits, and writes what is done") {
  for (const bool told : {true, false}) {
    CAPTURE(told);
    Diary test;
    FakeRenderer one([&](const FakeMaker::Call& call) {
      if (call.verb == "write" && call.job == "a") test.wait_for("the disk takes it");
      if (call.verb == "render" && call.job == "c") test::work_until_cancelled(*call.observer);
    });
    for (const char* job : {"a", "b", "c", "d"}) one.rig.render(job);
    one.diary->wait_for("render c");  // so b waits to be written
    if (told) one.rig.send("shutdown", Json::object());
    if (!told) one.rig.close_requests();
    for (const char* job : {"c", "d"}) {
      one.rig.heard.wait_for({{"type", "failed"}, {"job", job}, {"kind", "interrupted"}});
    }
    CHECK_FALSE(one.rig.heard.has({{"type", "done"}}));
    test.add("the disk takes it");
    for (const char* job : {"a", "b"}) one.rig.heard.wait_for({{"type", "done"}, {"job", job}});
    CHECK(one.rig.code() == 0);
    CHECK(one.diary->all("render") == std::vector<std::string>{"render a", "render b", "render c"});
  }
}

TEST_CASE("a request that makes no sense ends it with a reason, and what it has in hand with it") {
  const std::vector<std::string> lines{
      "no JSON",
      "{}",
      "[]",
      "",
      R"({"v": 99, "type": "probe"})",
      R"({"v": 1, "type": "dance"})",
      R"({"v": 1, "type": "ready"})",
      R"({"v": 1, "type": "render", "job": "x"})",
      R"({"v": 1, "type": "render", "job": 7, "token": 1, "settings": {}, "spec": {}})",
      R"({"v": 1, "type": "group", "rank": "first"})",
      R"({"v": 1, "type": "probe", "what": 7})",
      std::string(10000, '['),
      std::string(protocol::kMaxLine + 2, 'x')};
  for (const std::string& line : lines) {
    const std::string beginning = line.substr(0, 40);
    CAPTURE(beginning);
    FakeRenderer one([](const FakeMaker::Call& call) {
      if (call.verb == "render") test::work_until_cancelled(*call.observer);
    });
    one.rig.render("long");
    one.diary->wait_for("render long");
    one.rig.send(line);
    CHECK(one.rig.code() == code_of(ErrorKind::renderer));
    const auto& said = one.rig.heard.to_the_end();
    CHECK(one.rig.heard.has({{"type", "failed"}, {"job", "long"}, {"kind", "interrupted"}}));
    CHECK(said.back().at("type") == "failed");
    CHECK(said.back().at("job") == "");
    CHECK(said.back().at("kind") == "renderer");
    CHECK(said.back().at("message") != "");
  }
}

TEST_CASE("a line that its rank did not come to end is no request") {
  FakeRenderer one;
  one.rig.send_unfinished(R"({"v": 1, "type": "dance")");
  one.rig.close_requests();
  CHECK(one.rig.code() == 0);
}

TEST_CASE("it ends when nobody takes its events any more") {
  FakeRenderer one([](const FakeMaker::Call& call) {
    if (call.verb == "render") test::work_until_cancelled(*call.observer);
  });
  one.rig.render("long");
  one.diary->wait_for("render long");
  one.rig.close_events();
  CHECK(one.rig.code() == 0);
}

TEST_CASE("probes and groups are answered beside the work") {
  FakeRenderer one([](const FakeMaker::Call& call) {
    if (call.verb == "render" && call.job == "long") test::work_until_cancelled(*call.observer);
  });
  auto& heard = one.rig.heard;
  one.rig.render("long");
  one.diary->wait_for("render long");
  one.rig.send("probe", Json::object());
  CHECK(heard.wait_for({{"type", "probed"}}).at("facts").contains("libtorch"));
  one.rig.send("group", group_fields("", 0, 1, false));
  const std::string address = heard.wait_for({{"type", "rendezvous"}, {"joined", false}}).at("address");
  one.rig.send("group", group_fields(address, 0, 1, false));
  heard.wait_for({{"type", "rendezvous"}, {"address", address}, {"joined", true}});
  one.rig.send("group", group_fields("nowhere", 0, 1, false));
  heard.wait_for({{"type", "failed"}, {"job", ""}, {"kind", "comm"}});
  one.rig.send("cancel", {{"job", "long"}});
  heard.wait_for({{"type", "failed"}, {"job", "long"}});
  CHECK(one.rig.end() == 0);
  CHECK(one.diary->all("share").empty());  // none of these was a place to stay
}

TEST_CASE("a renderer that is in a group says so to who gives it another place, and goes on") {
  FakeRenderer one;
  auto& heard = one.rig.heard;
  one.rig.send("group", group_fields("", 0, 1));
  const std::string address = heard.wait_for({{"type", "rendezvous"}, {"joined", false}}).at("address");
  one.rig.send("group", group_fields(address, 0, 1));
  heard.wait_for({{"type", "rendezvous"}, {"joined", true}});
  one.rig.send("group", group_fields(address, 0, 1));
  const Json failed = heard.wait_for({{"type", "failed"}, {"job", ""}});
  CHECK(failed.at("kind") == "comm");
  CHECK(failed.at("message") == "group: this renderer is in a group already");
  one.rig.render("a");
  heard.wait_for({{"type", "done"}, {"job", "a"}});
  CHECK(one.rig.end() == 0);
}

TEST_CASE("two renderers render each video together, and the first one writes it") {
  TwoRenderers two;
  for (const char* job : {"a", "b"}) two.render(job);
  for (FakeRenderer* one : {&two.first, &two.second}) {
    for (const char* job : {"a", "b"}) one->rig.heard.wait_for({{"type", "done"}, {"job", job}});
  }
  CHECK(two.end() == std::vector<int>{0, 0});
  CHECK(two.first.diary->has("files of a: a.mp4 a.jpg a.h5 latents 23"));
  CHECK(two.second.diary->has("files of a:    latents 23"));
  for (FakeRenderer* one : {&two.first, &two.second}) CHECK(one->diary->has("part"));
}

TEST_CASE("what one of two renderers cannot prepare fails on both, and the next video is rendered") {
  TwoRenderers two({}, [](const FakeMaker::Call& call) {
    if (call.verb == "prepare" && call.job == "bad") throw Error(ErrorKind::job, "no LoRA");
  });
  two.render("bad");
  two.render("good");
  for (FakeRenderer* one : {&two.first, &two.second}) {
    const Json failed = one->rig.heard.wait_for({{"type", "failed"}, {"job", "bad"}});
    CHECK(failed.at("message") == "rank 1 of the group: no LoRA");
    one->rig.heard.wait_for({{"type", "done"}, {"job", "good"}});
  }
  CHECK(two.end() == std::vector<int>{0, 0});
}

TEST_CASE("a thread that cannot go on ends its renderer, which says why, and so does who loses its group by that") {
  TwoRenderers two([](const FakeMaker::Call& call) {
    if (call.verb == "render") throw Error(ErrorKind::device, "sticky");
  });
  two.render("a");
  CHECK(two.first.rig.code() == code_of(ErrorKind::comm));
  CHECK(two.second.rig.code() == code_of(ErrorKind::comm));
  for (FakeRenderer* one : {&two.first, &two.second}) one->rig.heard.to_the_end();
  CHECK(two.first.rig.heard.has({{"type", "failed"}, {"job", ""}, {"kind", "device"}, {"message", "sticky"}}));
  CHECK(two.second.rig.heard.has({{"type", "failed"}, {"job", ""}, {"kind", "comm"}}));
  for (FakeRenderer* one : {&two.first, &two.second}) {
    CHECK_FALSE(one->rig.heard.has({{"type", "failed"}, {"job", "a"}}));  // whose fault it was its rank decides
  }
}

TEST_CASE("a renderer without its model, and one that is told to end before it has loaded, say so and end") {
  const test::TempFolder folder;
  render::MakerOptions options;
  options.model = folder / "none";
  options.device = "cpu";
  options.threads = 1;
  const auto serve = [&](int request_fd, int event_fd) { return render::serve(options, request_fd, event_fd); };
  ServerRig missing(serve);
  CHECK(missing.code() == code_of(ErrorKind::model));
  CHECK(missing.heard.to_the_end().size() == 1);
  CHECK(missing.heard.has({{"type", "failed"}, {"job", ""}, {"kind", "model"}}));
  options.load_group = true;
  for (const bool told : {true, false}) {
    ServerRig waiting(serve);
    if (told) CHECK(waiting.end() == code_of(ErrorKind::interrupted));
    if (!told) waiting.close_requests();
    if (!told) CHECK(waiting.code() == code_of(ErrorKind::interrupted));
    CHECK(waiting.heard.to_the_end().size() == 1);
    CHECK(waiting.heard.has({{"type", "failed"}, {"job", ""}, {"kind", "interrupted"}}));
  }
}
