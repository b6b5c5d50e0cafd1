// A renderer without a model: what it answers, and what it cannot do.
#include <doctest/doctest.h>

#include <cstdlib>

#include "nightreel/base/error.h"
#include "nightreel/model/checkpoint.h"
#include "nightreel/render/server.h"
#include "render/server_rig.h"
#include "support/temp_folder.h"

using namespace nightreel;
using protocol::Json;
using test::ServerRig;

namespace {

std::string shapes() {
  return std::string(std::getenv("NIGHTREEL_SOURCE_DIR")) + "/models/shapes";
}

int serve_without_model(int request_fd, int event_fd) {
  render::MakerOptions options;
  options.device = "cpu";
  options.threads = 1;
  return render::serve_probes(options, request_fd, event_fd);
}

Json probe_of(const char* what, const std::string& model, const Json& group, const Json& transfers = Json::array()) {
  return {{"what", what}, {"model", model}, {"group", group}, {"transfers", transfers}, {"repeats", 3}};
}

}  // namespace

TEST_CASE("a renderer without a model is ready at once, lives, and fails what it is asked to render") {
  ServerRig one(serve_without_model);
  CHECK(one.heard.wait_for({{"type", "ready"}}).at("model_digest") == "");
  CHECK(one.heard.has({{"device", "cpu"}}));
  one.heard.wait_for({{"type", "heartbeat"}});
  one.render("video", 7);
  const Json failed = one.heard.wait_for({{"type", "failed"}, {"job", "video"}, {"token", 7}});
  CHECK(failed.at("kind") == "model");
  CHECK(failed.at("message") == "this renderer was started without a model");
  CHECK(one.end() == 0);
}

TEST_CASE("it tells versions, a model's digest, and what its exchanges with others come to") {
  ServerRig one(serve_without_model);
  const test::TempFolder folder;
  Json group{{"backend", "store"}, {"address", ""}, {"rank", 0}, {"size", 1}, {"deadline_ms", 60000}};
  one.send("probe", Json::object());
  CHECK(one.heard.wait_for({{"type", "probed"}}).at("facts").contains("libtorch"));
  one.send("probe", probe_of("model", folder / "none", group));
  const Json failed = one.heard.wait_for({{"type", "failed"}, {"job", ""}, {"kind", "model"}});
  CHECK(failed.at("message").get<std::string>().find("none") != std::string::npos);

  one.send("group", group);
  group["address"] = one.heard.wait_for({{"type", "rendezvous"}, {"joined", false}}).at("address");
  const Json transfers{{{"name", "a"}, {"verb", "all_to_all"}, {"elements", 1000}},
                       {{"name", "b"}, {"verb", "all_gather"}, {"elements", 7}}};
  one.send("probe", probe_of("group", "", group, transfers));
  const Json probed = one.heard.wait_for({{"type", "probed"}, {"facts", {{"sum_correct", true}}}});
  const Json& results = probed.at("transfers");
  REQUIRE(results.size() == 2);
  const std::vector<std::pair<const char*, int>> expected{{"a", 2000}, {"b", 14}};
  for (std::size_t i = 0; i < expected.size(); ++i) {
    CHECK(results[i].at("name") == expected[i].first);
    CHECK(results[i].at("bytes") == expected[i].second);
    CHECK(results[i].at("correct") == true);
  }

  one.send("probe", probe_of("model", shapes(), group));
  one.close_requests();
  CHECK(one.code() == 0);
  bool told = false;
  for (const Json& event : one.heard.to_the_end()) {
    told = told || (event.contains("facts") && event.at("facts").value("digest", "") == model::model_digest(shapes()));
  }
  CHECK(told);
}

TEST_CASE("a request that makes no sense ends it with a reason, and so does a rank that takes no events") {
  ServerRig one(serve_without_model);
  one.send("nonsense");
  CHECK(one.code() == base::traits(base::ErrorKind::renderer).exit_code);
  one.heard.to_the_end();
  CHECK(one.heard.has({{"type", "failed"}, {"job", ""}, {"kind", "renderer"}}));

  ServerRig other(serve_without_model);
  other.heard.wait_for({{"type", "ready"}});
  other.close_events();
  CHECK(other.code() == 0);
}
