#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "app/nightreel/subcommands.h"
#include "nightreel/base/build_version.h"
#include "nightreel/base/error.h"
#include "nightreel/cluster/mpi.h"
#include "nightreel/queue/redis.h"

namespace nightreel::app {

// An engine of another build is a broken installation.
nlohmann::json all_versions(const std::string& engines) {
  nlohmann::json versions = nlohmann::json::parse(engines);
  if (versions.at("commit") != base::kCommit || versions.at("nightreel") != base::kVersion) {
    throw base::Error(base::ErrorKind::environment,
                      "nightreel (" + std::string(base::kCommit) + ") and nightreel-engine (" +
                          base::printable(versions.at("commit").dump()) + ") are of two builds: install both from one");
  }
  versions["mpi"] = cluster::mpi_version();
  versions["hiredis"] = queue::hiredis_version();
  versions["cli11"] = CLI11_VERSION;
  return versions;
}

void add_version(CLI::App& app, Action& action) {
  CLI::App* sub = app.add_subcommand("version", "Print the versions of the program and of its libraries");
  auto json = std::make_shared<bool>(false);
  sub->add_flag("--json", *json, "as a JSON object");
  sub->callback([&action, json] {
    action = [json] {
      const nlohmann::json versions = all_versions(engine_versions());
      if (*json) {
        std::printf("%s\n", versions.dump().c_str());
        return 0;
      }
      for (const auto& [name, value] : versions.items()) {
        std::printf("%-18s %s\n", name.c_str(), value.get<std::string>().c_str());
      }
      return 0;
    };
  });
}

}  // namespace nightreel::app
