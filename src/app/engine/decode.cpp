// `decode`: a video from archived latents, without denoising.
#include <array>
#include <cstdio>

#include "app/common/outputs.h"
#include "app/common/setting_flags.h"
#include "app/engine/engine_flags.h"
#include "app/engine/subcommands.h"
#include "nightreel/render/decode_archive.h"

namespace nightreel::app {
namespace {

using protocol::EngineOptions;

// Of the options with which a model is loaded: the VAE is in float32 whatever --dtype says.
constexpr std::array<protocol::EngineMember, 3> kTaken{&EngineOptions::device, &EngineOptions::threads,
                                                       &EngineOptions::gpu_memory};

}  // namespace

void add_decode(CLI::App& app, Action& action) {
  auto o = std::make_shared<render::DecodeOptions>();
  o->video.fps = 0;
  CLI::App* sub = app.add_subcommand("decode", "decodes archived latents again, without denoising");
  sub->add_option("archive", o->archive, "ARCHIVE.h5")->required();
  sub->add_option("-o,--output", o->output, "MP4 file; replaced, whole")->required();
  sub->add_option("--model", o->engine.model, "folder of the model; default: the one that the archive names");
  for (const protocol::EngineMember member : kTaken) {
    add_engine_flag(*sub, o->engine, protocol::engine_flag(member));
  }
  sub->add_option("--fps", o->video.fps, "frames a second; default: the archive's");
  const auto encoding = std::make_shared<settings::Encoding>();
  add_encoding_flags(*sub, *encoding);
  sub->callback([&action, o, encoding] {
    o->video.crf = static_cast<int>(encoding->crf);
    o->video.codec = encoding->codec;
    action = [o] {
      outlive_readers();
      check_output_file("--output", o->output, ".mp4");
      render::decode_archive(*o);
      std::printf("%s\n", o->output.c_str());
      return 0;
    };
  });
}

}  // namespace nightreel::app
