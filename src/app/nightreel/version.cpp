#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "app/nightreel/subcommands.h"
#include "nightreel/base/build_version.h"

namespace nightreel::app {

void add_version(CLI::App& app, Action& action) {
  CLI::App* sub = app.add_subcommand("version", "Print the program's version");
  auto json = std::make_shared<bool>(false);
  sub->add_flag("--json", *json, "as a JSON object");
  sub->callback([&action, json] {
    action = [json] {
      const nlohmann::json object{{"nightreel", base::kVersion}, {"commit", base::kCommit}};
      const std::string line = std::string("nightreel ") + base::kVersion + " (" + base::kCommit + ")";
      std::printf("%s\n", *json ? object.dump().c_str() : line.c_str());
      return 0;
    };
  });
}

}  // namespace nightreel::app
