// `render`: the renderer process that a rank starts.
#include <fcntl.h>
#include <unistd.h>

#include "app/engine/engine_flags.h"
#include "app/engine/subcommands.h"
#include "nightreel/base/error.h"
#include "nightreel/base/file.h"
#include "nightreel/base/log.h"
#include "nightreel/base/process.h"
#include "nightreel/render/server.h"

namespace nightreel::app {
namespace {

// NCCL and others print to stdout: descriptor 1 is set aside for events and then points at stderr.
base::Fd take_stdout() {
  base::Fd events(::fcntl(1, F_DUPFD_CLOEXEC, 3));
  if (!events || ::dup2(2, 1) < 0) base::throw_errno("cannot set aside", "stdout");
  return events;
}

int serve(const render::MakerOptions& options) {
  if (options.model.empty() && !options.probe) {
    throw base::Error(base::ErrorKind::usage, "--model is required (--help lists the options)");
  }
  base::die_with_parent();
  const base::Fd events = take_stdout();
  return options.probe ? render::serve_probes(options, 0, events.get()) : render::serve(options, 0, events.get());
}

}  // namespace

void add_render(CLI::App& app, Action& action) {
  auto options = std::make_shared<render::MakerOptions>();
  options->log = base::Logger::to_stderr(base::LogFormat::text, "renderer");
  CLI::App* sub = app.add_subcommand("render", "plumbing: reads requests on stdin, writes events on stdout");
  add_loading_flags(*sub, *options);
  add_rendering_flags(*sub, *options);
  sub->callback([&action, options] { action = [options] { return serve(*options); }; });
}

}  // namespace nightreel::app
