#include "app/nightreel/renderer_env.h"

#include "nightreel/base/child_environment.h"
#include "nightreel/base/error.h"

namespace nightreel::app {

void add_renderer_env(CLI::App& sub, std::vector<std::string>& names) {
  sub.add_option_function<std::vector<std::string>>(
         "--renderer-env",
         [&names](const std::vector<std::string>& given) {
           try {
             names = base::checked_variables(given);
           } catch (const base::Error& e) {
             throw base::Error(e.kind(), std::string("--renderer-env: ") + e.what());
           }
         },
         "NAME or PREFIX* of variables that renderers get beside those that docs/running.md lists; repeatable")
      ->delimiter(',');
}

}  // namespace nightreel::app
