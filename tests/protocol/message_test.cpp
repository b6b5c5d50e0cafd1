#include "nightreel/protocol/message.h"

#include <doctest/doctest.h>

#include "support/error.h"

namespace nightreel::protocol {
namespace {

using base::ErrorKind;
using test::contains;
using test::thrown_by;

RenderRequest some_request() {
  RenderRequest r;
  r.job = "red-circle";
  r.token = 18446744073709551615U;
  r.settings.prompt = "日本 \"x\"\n";
  r.settings.guidance_scale_2 = 3.5;
  r.settings.sigmas = {1, 0.5};
  r.settings.loras = {{"/a", 0.5, "high"}};
  r.settings.seed = 9223372036854775807U;
  r.spec = Json::parse(R"({"prompt": "日本", "guidance_scale": 5.0})");
  r.video = "/out/v.part";
  r.sheet = "/out/s.part";
  r.archive = "/out/a.part";
  r.checkpoint = "/out/c.h5";
  r.archive_content = "frames";
  r.checkpoint_every = 7;
  r.settings.crf = 23;
  r.settings.codec = "hevc";
  r.hash = "0a1b";
  r.memory = 85899345920U;
  return r;
}

/// A message of each kind as a line, encoded twice over: once from the value, once from what was read back.
template <typename Value, typename Read>
void check_round_trip(const Value& value, Message (*decode)(std::string_view), Read read) {
  const std::string line = encode(value);
  CHECK_FALSE(contains(line, "\n"));
  CHECK(encode(read(decode(line))) == line);
}

TEST_CASE("every message comes back as it was sent") {
  check_round_trip(some_request(), decode_request, render_request);
  check_round_trip(GroupRequest{"nccl", "host:29500/abc", 3, 4, 1500, "10.0.0.1", true}, decode_request, group_request);
  ReadyEvent ready;
  ready.model_digest = "0123";
  ready.model = {{"kind", "t2v"}};
  ready.versions = {{"torch", "2.11.0"}};
  ready.device = "NVIDIA H100";
  ready.device_uuid = "GPU-1";
  ready.memory_bytes = 85899345920U;
  ready.allocator = "expandable_segments";
  ready.plan = {{"fits", true}};
  ready.cpu_capability = "AVX2";
  ready.threads = 2;
  ready.load_s = 1.25;
  ready.load = {68000000000U, true};
  check_round_trip(ready, decode_event, ready_event);
  check_round_trip(RendezvousEvent{"h:1", true}, decode_event, rendezvous_event);
  check_round_trip(ProgressEvent{"j", 7, "denoise", 3, 40}, decode_event, progress_event);
  check_round_trip(CheckpointEvent{"j", 7, 12}, decode_event, checkpoint_event);
  check_round_trip(DoneEvent{"j", 7, 81, 480, 832, 12, {{"denoise", 3.5}, {"decode", 1.0}}}, decode_event, done_event);
  check_round_trip(DoneEvent{"j", 7, 81, 480, 832, 0, {}, {"a.safetensors: unet.to_q"}, {{"a.safetensors", "0123"}}},
                   decode_event, done_event);
  check_round_trip(FailedEvent{"j", 7, ErrorKind::device_memory, "out of memory", "decode=1000"}, decode_event,
                   failed_event);
  DoneEvent done;
  done.plan = {{"tiled_decode", true}};
  check_round_trip(done, decode_event, done_event);
}

TEST_CASE("the values survive, not only the text") {
  const RenderRequest r = render_request(decode_request(encode(some_request())));
  CHECK(r.token == 18446744073709551615U);
  CHECK(r.settings.prompt == "日本 \"x\"\n");
  CHECK(r.settings.seed == 9223372036854775807U);
  CHECK(r.spec.dump() == R"({"guidance_scale":5.0,"prompt":"日本"})");
  CHECK(r.settings.crf == 23);
  CHECK(r.settings.codec == "hevc");
  CHECK(r.hash == "0a1b");
  const FailedEvent failed = failed_event(decode_event(encode(FailedEvent{"", 0, ErrorKind::numeric, "NaN"})));
  CHECK(failed.kind == ErrorKind::numeric);
  CHECK(failed.job.empty());
}

TEST_CASE("plain messages carry their type, their fields and the version") {
  for (const char* type : {"cancel", "checkpoint_and_stop", "shutdown", "probe"}) {
    const Message message = decode_request(encode_plain(type, {{"job", "j"}}));
    CHECK(message.type == type);
    CHECK(message.text("job") == "j");
    CHECK(message.body.at("v") == kVersion);
  }
  CHECK(decode_event(encode_plain("heartbeat", {{"stage", "text"}})).text("stage") == "text");
  const Message probed = decode_event(encode_plain("probed", {{"facts", Json::object()}, {"n", 7}}));
  CHECK(probed.text("n").empty());  // a number is no text
  CHECK(probed.text("none").empty());
}

TEST_CASE("foreign bytes in a message do not break the line") {
  const std::string line = encode(FailedEvent{"j", 1, ErrorKind::internal, "bad \xff byte\nnext"});
  CHECK_FALSE(contains(line, "\n"));
  CHECK(failed_event(decode_event(line)).message == "bad \xEF\xBF\xBD byte\nnext");
  CHECK(
      failed_event(decode_event(R"({"v":1,"type":"failed","job":"","token":0,"kind":"new kind","message":""})")).kind ==
      ErrorKind::internal);
}

TEST_CASE("every field of `ready` is looked at when it comes, not when it is used") {
  const Json good = Json::parse(encode([] {
    ReadyEvent e;
    e.model = Json::object();
    e.versions = {{"libtorch", "2"}};
    return e;
  }()));
  REQUIRE(ready_event(decode_event(good.dump())).versions.at("libtorch") == "2");
  struct Case {
    const char* field;
    Json value;
  };
  for (const Case& c : {Case{"versions", "2.11"}, Case{"versions", Json::array()}, Case{"versions", nullptr},
                        Case{"versions", {{"libtorch", 2}}}, Case{"model", 7}, Case{"model", Json::array()},
                        Case{"memory", Json::object()}, Case{"memory", "much"}, Case{"memory", {{"bytes", -1}}},
                        Case{"memory", {{"bytes", 1}, {"model", 3}}}, Case{"plan", "a"}, Case{"plan", Json::array()},
                        Case{"threads", -1}, Case{"load_s", -2}, Case{"load_s", "1"}, Case{"load", 1}}) {
    Json body = good;
    body[c.field] = c.value;
    INFO(body.dump());
    const auto error = thrown_by([&] { ready_event(decode_event(body.dump())); });
    CHECK(error.kind == ErrorKind::renderer);
    CHECK(contains(error.message, "ready: "));
  }
}

TEST_CASE("a hostile or foreign line is an error of the renderer, whichever it is") {
  struct Case {
    std::string line;
    const char* message;
  };
  for (const auto& c : {
           Case{"", "event is not JSON"},
           Case{"NCCL INFO Bootstrap", "event is not JSON"},
           Case{std::string("\0\0", 2), "event is not JSON"},
           Case{"[1]", "event is not a JSON object"},
           Case{"null", "event is not a JSON object"},
           Case{"{}", "of another protocol version: null is not 1"},
           Case{R"({"v": 2, "type": "done"})", "of another protocol version: 2 is not 1"},
           Case{R"({"v": "1", "type": "done"})", "of another protocol version"},
           Case{R"({"v": 1})", "of unknown type"},
           Case{R"({"v": 1, "type": 7})", "of unknown type"},
           Case{R"({"v": 1, "type": "render"})", "of unknown type render"},
           Case{R"({"v": 1, "type": "\u001b[31m"})", "of unknown type \\x1b[31m"},
           Case{R"({"v": 1, "v": 1, "type": "done"})", "the key stands twice"},
           Case{"{\"v\": 1, \"type\": \"done\", \"a\": " + std::string(100, '[') + std::string(100, ']') + "}",
                "nested deeper"},
           Case{std::string(kMaxLine + 1, ' '), "event longer than the protocol allows"},
       }) {
    const auto error = thrown_by([&] { decode_event(c.line); });
    CHECK(error.kind == ErrorKind::renderer);
    CHECK_MESSAGE(contains(error.message, c.message), error.message);
  }
  CHECK(contains(thrown_by([] { decode_request(R"({"v": 1, "type": "done"})"); }).message,
                 "request of unknown type done"));
}

TEST_CASE("a field that is missing, mistyped or out of its type is an error that names the message") {
  const std::string done =
      R"({"v":1,"type":"done","job":"j","token":7,"frames":1,"height":1,"width":1,"resumed_step":0,"timings":{"a":1.0}})";
  CHECK_NOTHROW(done_event(decode_event(done)));
  const Json complete = Json::parse(done);
  for (const auto& [name, value] : complete.items()) {
    if (name == "v" || name == "type") continue;
    INFO(name);
    Json missing = complete;
    missing.erase(name);
    Json mistyped = complete;
    mistyped[name] = Json::parse(R"([["x"]])");
    for (const auto& broken : {missing, mistyped}) {
      const auto error = thrown_by([&, text = broken.dump()] { done_event(decode_event(text)); });
      CHECK(error.kind == ErrorKind::renderer);
      CHECK(contains(error.message, "done: "));
    }
  }
  for (const char* settings : {"null", "{}", "[]", R"({"prompt": 7})"}) {
    Json request = Json::parse(encode(some_request()));
    request["settings"] = Json::parse(settings);
    INFO(settings);
    const auto error = thrown_by([&] { render_request(decode_request(request.dump())); });
    CHECK(error.kind == ErrorKind::renderer);
    CHECK(contains(error.message, "render: "));
  }
  for (const char* number : {"1.5", "-1", "1e300", "18446744073709551616", "true", "\"7\""}) {
    INFO(number);
    Json event = complete;
    event["token"] = Json::parse(number);
    CHECK(thrown_by([&] { done_event(decode_event(event.dump())); }).kind == ErrorKind::renderer);
    Json request = Json::parse(encode(some_request()));
    request["settings"]["seed"] = Json::parse(number);
    CHECK(thrown_by([&] { render_request(decode_request(request.dump())); }).kind == ErrorKind::renderer);
  }
  CHECK(thrown_by([&] {
          group_request(decode_request(
              R"({"v":1,"type":"group","backend":"store","address":"","rank":4294967296,"size":1,"deadline_ms":1})"));
        }).kind == ErrorKind::renderer);
}

}  // namespace
}  // namespace nightreel::protocol
