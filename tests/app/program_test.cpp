// The program's own words: which subcommand is whose, what --help, --version and `version` tell.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "app/nightreel/subcommands.h"
#include "app/refusal.h"
#include "nightreel/base/build_version.h"

using namespace nightreel;
using test::call;
using test::check_refused;
using test::contains;
using Words = std::vector<std::string>;

TEST_CASE("the engine gets its subcommands, with a --config that stands before them, and no other") {
  using app::engine_arguments;
  CHECK(engine_arguments({"generate", "--model", "m"}) == Words{"generate", "--model", "m"});
  CHECK(engine_arguments({"--config", "c.toml", "generate", "-o", "x"}) ==
        Words{"generate", "--config", "c.toml", "-o", "x"});
  CHECK(engine_arguments({"--config=c.toml", "model", "info"}) == Words{"model", "--config=c.toml", "info"});
  CHECK(engine_arguments({"bench", "step"}) == Words{"bench", "step"});
  for (const char* name : {"generate", "decode", "model", "bench", "render"}) {
    CHECK(engine_arguments({name}) == Words{name});
  }
  for (const Words& ours : std::vector<Words>{{},
                                              {"run"},
                                              {"status", "generate"},
                                              {"bench", "comm"},
                                              {"--config", "generate"},
                                              {"--config"},
                                              {"--help"},
                                              {"generat"}}) {
    CHECK(engine_arguments(ours).empty());
  }
}

TEST_CASE("--version is one line, --help names every subcommand, and a slip of the finger the nearest") {
  const auto version = call({"--version"});
  CHECK(version.code == 0);
  CHECK(version.out == std::string("nightreel ") + base::kVersion + " (" + base::kCommit + ")\n");
  const auto help = call({"--help"});
  CHECK(help.code == 0);
  CHECK(help.log.empty());
  for (const char* name : {"run", "submit", "status", "cancel", "retry", "doctor", "version", "generate", "decode",
                           "model", "bench comm", "render"}) {
    CHECK_MESSAGE(contains(help.out, std::string("  ") + name + " "), name);
  }
  for (const char* name : {"run", "submit", "status", "cancel", "retry", "doctor", "version"}) {
    CHECK(contains(call({name, "--help"}).out, std::string("Usage: nightreel ") + name));
  }
  check_refused(call({"rum"}), 2, {"rum: no such subcommand; did you mean run?"});
  check_refused(call({"generat"}), 2, {"generat: no such subcommand; did you mean generate?"});
  check_refused(call({"status", "--jsn"}), 2, {"--jsn: no such option; did you mean json?"});
  check_refused(call({}), 2, {"--help"});
}

TEST_CASE("an image's NIGHTREEL_VERSION names what is installed and asks for nothing") {
  check_refused(call({"status"}, {{{"NIGHTREEL_VERSION", "1"}}, {}, {}}), 2, {"which queue?"});
}

TEST_CASE("version tells the engine's libraries and its own, and refuses an engine of another build") {
  nlohmann::json engine{{"nightreel", base::kVersion}, {"commit", base::kCommit}, {"libtorch", "2.11.0"}};
  const auto all = app::all_versions(engine.dump());
  CHECK(all.at("libtorch") == "2.11.0");
  for (const char* name : {"mpi", "hiredis", "cli11"}) CHECK_FALSE(all.at(name).get<std::string>().empty());
  for (const char* name : {"nightreel", "commit"}) {
    auto other = engine;
    other[name] = "other\x1b";
    const auto thrown = test::thrown_by([&] { app::all_versions(other.dump()); });
    CHECK(thrown.kind == base::ErrorKind::environment);
    CHECK(contains(thrown.message, "are of two builds: install both from one"));
  }
}

TEST_CASE("doctor and bench comm refuse values that make no sense before MPI starts") {
  const std::vector<std::pair<Words, std::string>> table{
      {{"doctor", "--device", "gpu"}, "--device"},
      {{"doctor", "--patience", "0"}, "--patience"},
      {{"doctor", "--patience", "soon"}, "--patience"},
      {{"doctor", "--expect-ranks", "0"}, "--expect-ranks"},
      {{"doctor", "--modle", "x"}, "did you mean model?"},
      {{"bench", "comm", "--repeats", "0"}, "--repeats"},
      {{"bench", "comm", "--ranks-per-video", "-1"}, "--ranks-per-video"},
      {{"bench", "comm", "--bytes", "much"}, "'much' is no size"}};
  for (const auto& [words, part] : table) check_refused(call(words), 2, {part});
}
