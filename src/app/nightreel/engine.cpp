#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "app/nightreel/subcommands.h"
#include "nightreel/base/error.h"
#include "nightreel/base/process.h"

namespace nightreel::app {

void become_engine(int argc, char** argv) {
  constexpr std::array<std::string_view, 5> kEngine{"generate", "decode", "model", "render", "bench"};
  if (argc < 2 || std::find(kEngine.begin(), kEngine.end(), argv[1]) == kEngine.end()) return;
  std::string path = base::executable_folder() + "/nightreel-engine";
  argv[0] = path.data();
  ::execv(path.c_str(), argv);
  throw base::Error(base::ErrorKind::environment,
                    path + ": cannot be started (" + std::strerror(errno) + "); it belongs beside nightreel");
}

}  // namespace nightreel::app
