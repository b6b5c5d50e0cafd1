// `decode`: a video from archived latents, without denoising.
#include <cstdio>

#include "app/common/outputs.h"
#include "app/common/setting_flags.h"
#include "app/engine/maker_flags.h"
#include "app/engine/subcommands.h"
#include "nightreel/render/decode_archive.h"

namespace nightreel::app {

void add_decode(CLI::App& app, Action& action) {
  auto o = std::make_shared<render::DecodeOptions>();
  o->video.fps = 0;
  CLI::App* sub = app.add_subcommand("decode", "decodes archived latents again, without denoising");
  sub->add_option("archive", o->archive, "ARCHIVE.h5")->required();
  sub->add_option("-o,--output", o->output, "MP4 file; replaced, whole")->required();
  sub->add_option("--model", o->model, "folder of the model; default: the one that the archive names");
  sub->add_option("--device", o->device, "auto, cpu, cuda or cuda:GPU-<uuid>")->capture_default_str();
  sub->add_option("--threads", o->threads, "CPU threads")->check(CLI::Range(1, 1024))->capture_default_str();
  add_memory_flag(*sub, o->gpu_memory);
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
