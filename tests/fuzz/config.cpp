// The TOML file that --config names.
#include <cstdlib>

#include "app/common/command_line.h"
#include "fuzz/fuzz.h"

namespace nightreel::fuzz {
namespace {

/// Options of each kind, and what the last file has set of them.
class Program {
 public:
  Program() {
    CLI::App* sub = app_.add_subcommand("run", "");
    sub->add_option("--queue", text_, "");
    sub->add_option("--lease", number_, "");
    sub->add_flag("--follow", flag_, "");
    sub->add_option("--again", list_, "");
    app::name_environment(app_);
  }
  const CLI::App& app() const { return app_; }
  static void forget() {
    for (const char* name : {"QUEUE", "LEASE", "FOLLOW", "AGAIN"}) {
      ::unsetenv((std::string("NIGHTREEL_") + name).c_str());
    }
  }

 private:
  CLI::App app_;
  std::string text_;
  int number_ = 0;
  bool flag_ = false;
  std::vector<std::string> list_;
};

}  // namespace
}  // namespace nightreel::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nightreel;
  static const fuzz::Program program;
  fuzz::Program::forget();
  const std::string path = fuzz::file_of("config.toml", fuzz::text_of(data, size));
  fuzz::answers_well({base::ErrorKind::usage}, [&] { app::apply_config_file(program.app(), {"--config", path}); });
  return 0;
}
