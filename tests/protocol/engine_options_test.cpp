// Each row brings its value to a command line and back, and says what is wrong with another one.
#include "nightreel/protocol/engine_options.h"

#include <doctest/doctest.h>

#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "support/error.h"

using namespace nightreel;
using protocol::EngineFlag;
using protocol::EngineOptions;
using test::thrown_by;
using Words = std::vector<std::string>;

namespace {

/// None of them at its default.
EngineOptions all_changed() {
  EngineOptions options;
  options.model = "/models/wan";
  options.device = "cuda:GPU-1";
  options.dtype = "fp8";
  options.threads = 3;
  options.gpu_memory = 24000000001;
  options.memory_failed = {{"decode", 1000}, {"text", 7}};
  options.host_ranks = 8;
  options.shard = {1, 4};
  options.stage = "/tmp/copies";
  options.load_group = true;
  options.probe = true;
  return options;
}

const EngineFlag& named(const std::string& name) {
  for (const EngineFlag& flag : protocol::engine_flags()) {
    if (flag.name == name) return flag;
  }
  FAIL("no such flag: " << name);
  return protocol::engine_flags().front();
}

/// As a command line's parser reads what stands behind `render`.
EngineOptions read(const Words& argv) {
  EngineOptions options;
  for (std::size_t i = 2; i < argv.size(); ++i) {
    const EngineFlag& flag = named(argv[i]);
    const bool is_switch = std::holds_alternative<bool EngineOptions::*>(flag.member);
    protocol::from_text(flag, is_switch ? "true" : argv.at(++i), options);
  }
  return options;
}

std::string refusal(const std::string& name, const std::string& text) {
  EngineOptions options;
  const auto error = thrown_by([&] { protocol::from_text(named(name), text, options); });
  CHECK(error.kind == base::ErrorKind::usage);
  return error.message;
}

Words without_program(Words argv) {
  REQUIRE(argv.size() >= 2);
  CHECK(argv[0].find("nightreel-engine") != std::string::npos);
  CHECK(argv[1] == "render");
  argv.erase(argv.begin(), argv.begin() + 2);
  return argv;
}

}  // namespace

TEST_CASE("what a rank tells its renderer is what the renderer reads") {
  const EngineOptions told = all_changed();
  const EngineOptions heard = read(protocol::renderer_argv(told));
  for (const EngineFlag& flag : protocol::engine_flags()) {
    CAPTURE(std::string(flag.name));
    CHECK(protocol::to_text(flag, heard) == protocol::to_text(flag, told));
    CHECK(protocol::to_text(flag, told) != protocol::to_text(flag, EngineOptions{}));
  }
}

TEST_CASE("a renderer is always told what its environment may say too; what is added has none of that") {
  EngineOptions options;
  options.model = "m";
  CHECK(without_program(protocol::renderer_argv(options)) ==
        Words{"--model", "m", "--device", "auto", "--dtype", "auto", "--threads", "2"});
  options.shard = {0, 4};
  options.stage = "copies";
  CHECK(without_program(protocol::renderer_argv(options)) == Words{"--model", "m", "--device", "auto", "--dtype",
                                                                   "auto", "--threads", "2", "--shard-weights", "0/4",
                                                                   "--stage-weights", "copies"});
  EngineOptions more;
  CHECK(protocol::more_argv(more).empty());
  more.load_group = true;
  more.host_ranks = 2;
  more.memory_failed = {{"decode", 1000}};
  more.device = "cpu";
  CHECK(protocol::more_argv(more) == Words{"--load-group", "--memory-failed", "decode=1000", "--host-ranks", "2"});
}

TEST_CASE("no flag stands twice, each member has one, and each says what it is") {
  std::set<std::string_view> names;
  for (const EngineFlag& flag : protocol::engine_flags()) {
    CHECK(names.insert(flag.name).second);
    if (!flag.alias.empty()) CHECK(names.insert(flag.alias).second);
    CHECK_FALSE(flag.help.empty());
    CHECK(&protocol::engine_flag(flag.member) == &flag);
  }
  CHECK(std::string(protocol::engine_flag(&EngineOptions::threads).name) == "--threads");
}

TEST_CASE("a text that is no value is refused by the flag's name, and says what is needed") {
  for (const auto& [name, text, needed] : std::vector<std::tuple<std::string, std::string, std::string>>{
           {"--threads", "many", "needs a whole number from 1 to 1024"},
           {"--threads", "0", "needs a whole number from 1 to 1024"},
           {"--threads", "2x", "needs a whole number from 1 to 1024"},
           {"--threads", "99999999999", "needs a whole number from 1 to 1024"},
           {"--host-ranks", "", "needs a whole number from 1 to 1048576"},
           {"--shard-weights", "4/4", "needs MEMBER/SIZE, as in 0/4 for the first of four"},
           {"--shard-weights", "0/4x", "needs MEMBER/SIZE, as in 0/4 for the first of four"},
           {"--shard-weights", "-1/4", "needs MEMBER/SIZE, as in 0/4 for the first of four"},
           {"--probe", "yes", "needs true or false"}}) {
    CHECK(refusal(name, text) == name + ": " + text + ": " + needed);
  }
  CHECK(refusal("--gpu-memory", "much").find("'much' is no size") == 0);
  CHECK(refusal("--memory-failed", "decode").find("needs STAGE=BYTES") != std::string::npos);
}

TEST_CASE("numbers, sizes and members are read as they are written") {
  EngineOptions options;
  protocol::from_text(named("--threads"), "1024", options);
  protocol::from_text(named("--gpu-memory"), "24GB", options);
  protocol::from_text(named("--shard-weights"), "2/3", options);
  CHECK(options.threads == 1024);
  CHECK(options.gpu_memory == 24000000000U);
  CHECK(options.shard.rank == 2);
  CHECK(options.shard.size == 3);
}
