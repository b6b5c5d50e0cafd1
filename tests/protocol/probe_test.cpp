#include "nightreel/protocol/probe.h"

#include <doctest/doctest.h>

#include "support/error.h"

namespace nightreel::protocol {
namespace {

using base::ErrorKind;
using test::contains;
using test::thrown_by;

ProbeRequest some_probe() {
  ProbeRequest request;
  request.what = "group";
  request.model = "/models/日本";
  request.group = {"nccl", "0123abcd", 3, 4, 1500};
  request.transfers = {{"attention", "all_to_all", 4096}, {"weights", "all_gather", 1}};
  request.repeats = 7;
  return request;
}

TEST_CASE("a probe and its answer come back as they were sent") {
  const std::string asked = encode(some_probe());
  CHECK(encode(probe_request(decode_request(asked))) == asked);
  const ProbedEvent event{{{"digest", "00ff"}}, {{"attention", "all_to_all", 8192, 0.25, true}}};
  const std::string told = encode(event);
  CHECK(encode(probed_event(decode_event(told))) == told);
}

TEST_CASE("a probe without fields asks for the versions") {
  CHECK(probe_request(decode_request(R"({"v":1,"type":"probe"})")).what == "versions");
}

TEST_CASE("a probe that asks for what there is not, or too much of it, is an error") {
  const Json good = Json::parse(encode(some_probe()));
  const std::vector<std::pair<const char*, const char*>> changes{
      {R"({"what": "dance"})", "what is none of"},
      {R"({"what": 7})", "probe: "},
      {R"({"repeats": 0})", "repeats is not within"},
      {R"({"repeats": 1001})", "repeats is not within"},
      {R"({"repeats": 1.5})", "repeats is no integer"},
      {R"({"transfers": {}, "group": []})", "probe: "},
      {R"({"transfers": [{"name": "x", "verb": "all_reduce", "elements": 1}]})", "verb is none of"},
      {R"({"transfers": [{"name": "x", "verb": "all_gather", "elements": 0}]})", "elements is below 1"},
      {R"({"transfers": [{"name": "x", "verb": "all_gather"}]})", "probe: "},
      {R"({"transfers": [7]})", "probe: "}};
  for (const auto& [change, message] : changes) {
    Json broken = good;
    broken.update(Json::parse(change));
    INFO(change);
    const auto error = thrown_by([&] { probe_request(decode_request(broken.dump())); });
    CHECK(error.kind == ErrorKind::renderer);
    CHECK_MESSAGE(contains(error.message, message), error.message);
  }
  for (const char* event : {R"({"v":1,"type":"probed"})", R"({"v":1,"type":"probed","facts":[],"transfers":[]})",
                            R"({"v":1,"type":"probed","facts":{},"transfers":[{"name":1}]})"}) {
    INFO(event);
    CHECK(thrown_by([&] { probed_event(decode_event(event)); }).kind == ErrorKind::renderer);
  }
}

}  // namespace
}  // namespace nightreel::protocol
