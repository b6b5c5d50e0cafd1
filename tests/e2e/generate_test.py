"""generate and decode on models/shapes and models/shapes-i2v: one video, its archive, and the errors; what the engine's
other commands refuse.
"""
import json
import os
import subprocess

import h5py
import numpy

import program
import renderer
from program import SOURCE, engine, nightreel

CIRCLE = ["--prompt", "a red circle moves right on a black background", "--seed", 7, "--num_inference_steps", 4]
# What cannot be made: flags, the exit code, a part of the one line.
REFUSED = [
    (["--height", "50"], "nearest: 48, 64"),
    (["--num_frames", "16"], "num_frames"),
    (["--archive", "latents"], "--archive-file"),
    (["--archive-file", "x.h5"], "--archive latents or frames"),
    (["--dtype", "int4"], "--dtype"),
    (["--device", "gpu"], "--device"),
    (["--threads", "many"], "--threads"),
    (["--prompts", "x"], "--prompts"),
    (["--sampler", "ddim"], "sampler"),
    (["--recipe", "best"], "best"),
    (["--crf", "52"], "--crf"),
    (["--codec", "av1"], "--codec"),
    (["--size", "832"], "--size: '832' is no WIDTH*HEIGHT"),
    (["--size", "64*64", "--height", "64"], "--size"),
    (["--num-frames", "many"], "--num-frames: 'many' is no whole number"),
    (["--task", "t2v-A14B"], "--task: no such option; name the checkpoint's folder with --model"),
    (["--offload_model", "True"], "--offload-model: no such option; leave it out"),
    (["--ulysses_size=4"], "nightreel run --ranks-per-video"),
    (["--loras", "{"], "--loras: "),
    (["--height", "2048"], "rope_max_seq_len"),
    (["-o", "/dev/null"], "/dev/null: no regular file"),
    (["-o", "nowhere/x.mp4"], "nowhere: No such file or directory; make it first"),
    (["-o", "x.mkv"], "must end with .mp4"),
    (["--archive", "latents", "--archive-file", "/dev/null"], "/dev/null: no regular file"),
    (["--archive", "latents", "--archive-file", "x.mp4"], "one file cannot be both"),
]
# The same of the other commands. What is not there is in nobody's way: arguments are judged first.
OTHERS_REFUSED = [
    (["decode", "-o", "x.mp4"], "archive is required"),
    (["decode", "x.h5"], "--output is required"),
    (["decode", "x.h5", "-o", "x.mp4", "--crf", "52"], "--crf"),
    (["decode", "x.h5", "-o", "x.mp4", "--task", "t2v"], "--task: no such option"),
    (["bench", "--task", "t2v"], "--task: no such option; name the checkpoint's folder with --model"),
    (["decode", "x.h5", "-o", "x.mp4", "--codec", "av1"], "--codec"),
    (["decode", "x.h5", "-o", "x.mp4", "--gpu-memory", "much"], "'much' is no size"),
    (["decode", "x.h5", "-o", "x.mp4"], "x.h5: is no file"),
    (["decode", "x.h5", "-o", "/dev/null"], "/dev/null: no regular file"),
    (["decode", "x.h5", "-o", "nowhere/x.mp4"], "make it first"),
    (["decode", "x.h5", "-o", "x.avi"], "must end with .mp4"),
    (["model", "check", "/dev/null"], "/dev/null"),
    (["model", "info", SOURCE / "README.md"], "README.md"),
    (["model", "check", SOURCE / "README.md"], "README.md"),
    (["model", "convert", SOURCE / "README.md", "--to", "y"], "README.md"),
    (["model"], "--help"),
    (["model", "info"], "folder is required"),
    (["model", "info", "x", "--dtype", "int4"], "--dtype"),
    (["model", "convert", "x"], "--to is required"),
    (["model", "convert", "x", "--to", "y", "--layout", "flat"], "--layout"),
    (["model", "convert", "x", "--to", "y", "--dtype", "int4"], "--dtype"),
    (["model", "convert", "x", "--to", "y", "--shard-size", "0"], "--shard-size: must be above 0"),
    (["render"], "--model is required"),
    (["render", "--model", "x", "--shard-weights", "4/4"], "--shard-weights: 4/4: needs MEMBER/SIZE"),
    (["render", "--model", "x", "--shard-weights", "0/4x"], "--shard-weights: 0/4x: needs MEMBER/SIZE"),
    (["render", "--model", "x", "--threads", "0"], "--threads"),
    (["bench"], "--model, --random: exactly one of them is needed"),
    (["run"], "run: no such subcommand"),
]


def facts(video):
    seen = subprocess.run(["ffprobe", "-v", "error", "-count_frames", "-show_entries",
                           "stream=width,height,avg_frame_rate,nb_read_frames", "-of", "json", video],
                          capture_output=True, text=True, check=True)
    (stream,) = json.loads(seen.stdout)["streams"]
    return stream


class Generate(program.ProgramTest):
    def generate(self, name, *flags, model="shapes", through=engine):
        output = [] if "-o" in flags else ["-o", self.folder / name]
        return through("generate", "--model", SOURCE / "models" / model, *CIRCLE, *output, *flags, cwd=self.folder)

    def test_a_whole_video_and_its_latents_which_decode_makes_the_same_video_of(self):
        made = self.generate("a.mp4", "--archive", "latents", "--archive-file", self.folder / "a.h5", through=nightreel)
        self.assert_ended(made, 0)
        self.assertEqual(made.out, f"{self.folder}/a.mp4\n")
        video = self.folder / "a.mp4"
        self.assertEqual(facts(video), {"width": 64, "height": 64, "avg_frame_rate": "8/1", "nb_read_frames": "17"})
        with h5py.File(self.folder / "a.h5") as archive:
            self.assertEqual(archive["latents"].shape, (16, 5, 8, 8))
            self.assertEqual(json.loads(archive.attrs["settings"])["num_inference_steps"], 4)
        decoded = engine("decode", "a.h5", "-o", "b.mp4", "--device", "cpu", cwd=self.folder)
        self.assert_ended(decoded, 0)
        self.assertEqual(decoded.out, "b.mp4\n")
        self.assert_ended(self.generate("again.mp4"), 0)
        for same in ("b.mp4", "again.mp4"):
            self.assertEqual((self.folder / same).read_bytes(), video.read_bytes(), same)
        self.assertEqual(sorted(file.name for file in self.folder.iterdir()), ["a.h5", "a.mp4", "again.mp4", "b.mp4"])

    def test_wans_own_command_line_makes_the_same_video(self):
        self.assert_ended(self.generate("a.mp4", "--num_frames", 5), 0)
        wan = engine("generate", "--ckpt_dir", SOURCE / "models/shapes", "--size", "64*64", "--frame_num", 5, "--sample_steps", 4,
                     "--base_seed", 7, "--prompt", CIRCLE[1], "--save_file", "b.mp4", cwd=self.folder)
        self.assert_ended(wan, 0)
        self.assertEqual((self.folder / "b.mp4").read_bytes(), (self.folder / "a.mp4").read_bytes())

    def test_hevc_is_written_with_the_tag_that_all_players_take(self):
        self.assert_ended(self.generate("a.mp4", "--num-frames", 5, "--codec", "hevc", "--archive", "latents", "--archive-file",
                                        self.folder / "a.h5"), 0)
        self.assert_ended(engine("decode", "a.h5", "-o", "b.mp4", "--codec", "hevc", "--crf", 30, cwd=self.folder), 0)
        for name in ("a.mp4", "b.mp4"):
            seen = subprocess.run(["ffprobe", "-v", "error", "-count_frames", "-show_entries",
                                   "stream=codec_name,codec_tag_string,nb_read_frames,pix_fmt", "-of", "json", self.folder / name],
                                  capture_output=True, text=True, check=True)
            self.assertEqual(json.loads(seen.stdout)["streams"], [{"codec_name": "hevc", "codec_tag_string": "hvc1",
                                                                   "pix_fmt": "yuv420p", "nb_read_frames": "5"}])

    def archive(self, name, latents=None, settings=None, model=None):
        """An archive as somebody else might write it."""
        path = self.folder / name
        with h5py.File(path, "w") as file:
            file.attrs["format"], file.attrs["format_version"] = "nightreel-archive", 1
            for attribute, value in {"job": {}, "settings": settings, "model": model}.items():
                file.attrs[attribute] = json.dumps(value)
            file["latents"] = numpy.zeros((16, 2, 2, 2), "float32") if latents is None else latents
        return path

    def test_a_foreign_archive_is_refused_in_one_line_and_never_a_bug_of_ours(self):
        whole = {"path": str(SOURCE / "models/shapes")}
        not_finite, not_a_number = numpy.zeros((2, 16, 2, 2, 2), "float32")
        not_finite[3, 1, 0, 0], not_a_number[0, 0, 1, 0] = numpy.inf, numpy.nan
        cases = {
            "nothing": ({"settings": {}, "model": whole}, "settings: key 'prompt' not found"),
            "text": ({"settings": {**renderer.SETTINGS, "fps": "8"}, "model": whole}, "settings: type must be number"),
            "half": ({"settings": {**renderer.SETTINGS, "height": 1.5}, "model": whole}, "height is no integer"),
            "fps": ({"settings": {**renderer.SETTINGS, "fps": -1}, "model": whole}, "fps"),
            "number": ({"settings": renderer.SETTINGS, "model": {"path": 1}}, "model: path: no text"),
            "null": ({"settings": renderer.SETTINGS, "model": {"path": None}}, "--model DIR"),
            "list": ({"settings": [], "model": whole}, "settings: must be a JSON object"),
            "inf": ({"settings": renderer.SETTINGS, "model": whole, "latents": not_finite}, "is not finite"),
            "nan": ({"settings": renderer.SETTINGS, "model": whole, "latents": not_a_number}, "is not finite"),
        }
        for name, (content, part) in cases.items():
            with self.subTest(name):
                archive = self.archive(f"{name}.h5", **content)
                ended = engine("decode", archive, "-o", self.folder / "x.mp4", "--device", "cpu")
                self.assert_refused(ended, 2, str(archive), part)
                self.assertNotIn("json.exception", ended.log)
                self.assertEqual([file.suffix for file in self.folder.iterdir()], [".h5"])
                archive.unlink()
        good = self.archive("good.h5", settings=renderer.SETTINGS, model=whole)
        self.assert_ended(engine("decode", good, "-o", self.folder / "x.mp4", "--device", "cpu"), 0)

    def test_a_lost_answer_is_exit_code_3(self):
        for words in (["model", "info", SOURCE / "models/shapes"], ["model", "info", SOURCE / "models/shapes", "--json"],
                      ["model", "check", SOURCE / "models/shapes"], ["version"], ["--help"],
                      ["model", "memory", SOURCE / "models/shapes"]):
            with self.subTest(words):
                ended = engine(*words, stdout="/dev/full")
                self.assert_refused(ended, 3, "standard output cannot be written")

    def test_a_pipe_is_not_replaced(self):
        os.mkfifo(self.folder / "pipe.mp4")
        self.assert_refused(self.generate("pipe.mp4"), 2, "pipe.mp4: no regular file")
        self.assertTrue((self.folder / "pipe.mp4").is_fifo())

    def test_a_model_that_begins_with_a_picture_takes_one_and_asks_for_one(self):
        self.assert_refused(self.generate("a.mp4", model="shapes-i2v"), 2, "image: ")
        picture = SOURCE / "jobs/pictures/shapes/red_circle.png"
        self.assert_ended(self.generate("a.mp4", "--image", picture, model="shapes-i2v"), 0)
        self.assertEqual(facts(self.folder / "a.mp4")["nb_read_frames"], "17")

    def test_what_cannot_be_made_is_one_line_with_the_right_exit_code_and_leaves_no_file(self):
        for flags, part in REFUSED:
            with self.subTest(flags):
                ended = self.generate("x.mp4", *flags)
                self.assert_refused(ended, 2, part)
                self.assertEqual(ended.log.count("\n"), 1, ended.said)
                self.assertEqual(list(self.folder.iterdir()), [])
        self.assert_refused(self.generate("x.mp4", model="nowhere"), 3, "models/nowhere")
        self.assert_refused(engine("generate", "--model", "m", "--prompt", "x"), 2, "--output is required")

    def test_other_commands_refuse_what_makes_no_sense_and_make_nothing(self):
        for words, part in OTHERS_REFUSED:
            with self.subTest(words):
                ended = engine(*words, cwd=self.folder)
                self.assert_refused(ended, 2, part)
                self.assertEqual((ended.log.count("\n"), ended.out), (1, ""), ended.said)
                self.assertEqual(list(self.folder.iterdir()), [])

    def test_version_is_json_with_the_libraries(self):
        versions = json.loads(engine("version").out)
        self.assertLessEqual({"nightreel", "commit", "libtorch", "hdf5", "libavcodec"}, set(versions))


if __name__ == "__main__":
    program.main()
