#include "app/common/command_line.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <cstdlib>

#include "nightreel/base/file.h"
#include "support/error.h"
#include "support/temp_folder.h"

using namespace nightreel;
using Words = std::vector<std::string>;

namespace {

// A program with `run FILES… --model --max-attempts` and, in another executable, `generate`.
struct Program {
  CLI::App app{"test"};
  Words files;
  std::string model;
  std::string config;
  int max_attempts = 3;
  Program() {
    app.fallthrough();
    app.add_option("--config", config);
    CLI::App* run = app.add_subcommand("run");
    run->add_option("files", files);
    run->add_option("--model", model);
    run->add_option("--max-attempts", max_attempts);
    nightreel::app::name_environment(app);
  }
};

const nightreel::app::Elsewhere kElsewhere{{"generate", "one video"}};

}  // namespace

TEST_CASE("a subcommand or flag that there is none of is named, with the nearest that there is") {
  struct Case {
    Words arguments;
    std::string expected;
  };
  const std::vector<Case> bad{
      {{"rum"}, "rum: no such subcommand; did you mean run?"},
      {{"generat"}, "generat: no such subcommand; did you mean generate?"},
      {{"--config", "x.toml", "rum"}, "rum: no such subcommand"},
      {{"run", "--modle", "x"}, "--modle: no such option; did you mean model?"},
      {{"run", "a.jsonl", "--max-atempts=4"}, "--max-atempts: no such option; did you mean max-attempts?"},
      {{"--model", "x", "run"}, "--model: belongs behind the subcommand"},
      {{"r\x1b[2Jn"}, "r\\x1b[2Jn: no such subcommand"},
  };
  for (const Case& one : bad) {
    const Program program;
    const auto thrown = test::thrown_by([&] { app::check_names(program.app, one.arguments, kElsewhere); });
    CHECK(thrown.kind == base::ErrorKind::usage);
    CHECK_MESSAGE(thrown.message.find(one.expected) != std::string::npos, thrown.message);
  }
  for (const Words& good : std::vector<Words>{{},
                                              {"run"},
                                              {"run", "--help"},
                                              {"--config=x", "run", "--model=m"},
                                              {"run", "--config", "x"},
                                              {"run", "generate"},
                                              {"run", "--model", "m", "--", "--no-flag"},
                                              {"-h"}}) {
    const Program program;
    CHECK_NOTHROW(app::check_names(program.app, good, kElsewhere));
  }
}

TEST_CASE("Wan's spellings become ours") {
  CHECK(app::normalise_arguments({"--frame_num=81", "a_b", "--", "--x_y"}) ==
        Words{"--frame-num=81", "a_b", "--", "--x_y"});
}

TEST_CASE("a flag goes before the environment, the environment before the file, the file before the default") {
  const test::TempFolder folder;
  const std::string file = folder / "c.toml";
  base::replace_file(file, "max-attempts = 5\n");
  const auto parsed = [&](const Words& arguments) {
    Program program;
    app::apply_config_file(program.app, arguments);
    Words reversed(arguments.rbegin(), arguments.rend());
    program.app.parse(reversed);
    return program.max_attempts;
  };
  ::unsetenv("NIGHTREEL_MAX_ATTEMPTS");
  CHECK(parsed({"run"}) == 3);
  CHECK(parsed({"run", "--config", file}) == 5);
  ::setenv("NIGHTREEL_MAX_ATTEMPTS", "7", 1);
  CHECK(parsed({"run", "--config", file}) == 7);
  CHECK(parsed({"run", "--config", file, "--max-attempts", "9"}) == 9);
  ::unsetenv("NIGHTREEL_MAX_ATTEMPTS");
}

TEST_CASE("a config file that is none, or names no option, is told with its name") {
  const test::TempFolder folder;
  for (const char* content : {"max-atempts = 5\n", "[run]\nmodel\n= 5\n"}) {
    base::replace_file(folder / "c.toml", content);
    const Program program;
    const auto thrown = test::thrown_by([&] { app::apply_config_file(program.app, {"--config", folder / "c.toml"}); });
    CHECK(thrown.kind == base::ErrorKind::usage);
    CHECK_MESSAGE(thrown.message.find("c.toml") != std::string::npos, thrown.message);
  }
  const Program program;
  REQUIRE(::mkfifo((folder / "fifo").c_str(), 0600) == 0);
  for (const std::string& path : {std::string("/no/file"), folder.path(), folder / "fifo", folder / "a\x1b[31m\nb"}) {
    CAPTURE(path);
    const auto thrown = test::thrown_by([&] { app::apply_config_file(program.app, {"--config=" + path}); });
    CHECK(thrown.kind == base::ErrorKind::usage);
    CHECK(thrown.message.find_first_of("\x1b\n") == std::string::npos);
  }
}
