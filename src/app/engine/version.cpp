// `version`: what the engine was built with; nightreel's own `version` asks for it.
#include <cstdio>

#include "app/engine/subcommands.h"
#include "nightreel/render/device.h"

namespace nightreel::app {

void add_engine_version(CLI::App& app, Action& action) {
  CLI::App* sub = app.add_subcommand("version", "library versions as JSON");
  auto as_json = std::make_shared<bool>(false);
  sub->add_flag("--json", *as_json, "accepted for symmetry: the engine's answer is always JSON");
  sub->callback([&action, as_json] {
    action = [] {
      std::printf("%s\n", render::engine_versions().dump().c_str());
      return 0;
    };
  });
}

}  // namespace nightreel::app
