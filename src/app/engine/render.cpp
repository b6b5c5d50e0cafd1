// `render`: the renderer process that a rank starts.
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>

#include "app/engine/maker_flags.h"
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

model::ShardSeat seat_of(const std::string& text) {
  model::ShardSeat seat;
  char more = 0;
  const bool two = std::sscanf(text.c_str(), "%4d/%4d%c", &seat.rank, &seat.size, &more) == 2;
  if (two && seat.rank >= 0 && seat.rank < seat.size) return seat;
  throw base::Error(base::ErrorKind::usage, "--shard-weights: " + base::printable(text) +
                                                ": needs MEMBER/SIZE, as in 0/4 for the first of four");
}

int serve(const render::ServerOptions& options, bool probes_alone) {
  if (options.maker.model.empty() && !probes_alone) {
    throw base::Error(base::ErrorKind::usage, "--model is required (--help lists the options)");
  }
  base::die_with_parent();
  const base::Fd events = take_stdout();
  return probes_alone ? render::serve_probes(options.maker, 0, events.get()) : render::serve(options, 0, events.get());
}

}  // namespace

void add_render(CLI::App& app, Action& action) {
  auto options = std::make_shared<render::ServerOptions>();
  auto probes_alone = std::make_shared<bool>(false);
  CLI::App* sub = app.add_subcommand("render", "plumbing: reads requests on stdin, writes events on stdout");
  add_maker_flags(*sub, options->maker);
  options->maker.log = base::Logger::to_stderr(base::LogFormat::text, "renderer");
  sub->get_option("--model")->required(false);
  sub->add_flag("--probe", *probes_alone, "without a model: answers probes alone");
  sub->add_flag("--load-group", options->load_group,
                "reads the weights together with the group that it is told of before anything else");
  sub->add_option_function<std::string>(
      "--shard-weights", [options](const std::string& seat) { options->maker.shard = seat_of(seat); },
      "MEMBER/SIZE of the group that is to come, from 0/SIZE on: keeps this member's share of the transformer");
  sub->add_option_function<std::string>(
      "--memory-failed",
      [options](const std::string& stages) { options->maker.memory_failed = job::stage_bytes(stages); },
      "STAGE=BYTES[,…]: plans that needed so much have run out of memory there, and need less from the start");
  sub->add_option("--host-ranks", options->maker.host_ranks,
                  "renderers that start on this host now, and share its memory")
      ->check(CLI::Range(1, 1 << 20));
  sub->add_option("--stage-weights", options->maker.stage,
                  "a folder of this host: the checkpoint is copied there once and read from there");
  sub->callback([&action, options, probes_alone] {
    action = [options, probes_alone] { return serve(*options, *probes_alone); };
  });
}

}  // namespace nightreel::app
