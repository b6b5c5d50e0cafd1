"""Malformed job files and checkpoints, as ranks and the engine meet them: one line that names the file and what in it is
wrong, the right exit code, nothing added to the queue, nothing half-written. What `run` refuses before its first rank is
tested in the process (tests/app).
"""
import json
import os

import redis

import damage
import program
from program import SHAPES, SOURCE, engine


def files_below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) if folder.exists() else []


class Malformed(program.ProgramTest):
    def setUp(self):
        super().setUp()
        self.url = self.redis()

    def assert_nothing_added(self):
        client = redis.Redis.from_url(self.url)
        self.assertEqual(client.keys("*"), [])

    def run_jobs(self, jobs, model):
        return program.nightreel("run", jobs, "--model", model, "--out", self.out, "--redis", self.url, "--threads", "1")

    def generate(self, model, video, *flags):
        return engine("generate", "--model", model, "--prompt", "a red circle", "-o", video, "--threads", "1", *flags)

    def test_one_of_the_ranks_tells_of_a_bad_file(self):
        good, bad = self.write_jobs(program.small("good")), SOURCE / "tests/job/bad/third_line.jsonl"
        ended = program.mpirun(3, "run", good, bad, "--model", SHAPES, "--out", self.out, "--redis", self.url)
        self.assert_refused(ended, 2, f"{bad}:3: prompt")
        self.assertFalse(self.out.exists())
        self.assert_nothing_added()

    def test_checkpoints(self):
        """The engine refuses each of them in the same way, for a rank and for a user."""
        self.assertGreaterEqual(len(damage.OF_JSON), 6)
        self.assertGreaterEqual(len(damage.OF_WEIGHTS), 16)
        for name, (_, parts) in damage.DAMAGES.items():
            model, video = damage.make(SHAPES, name, self.folder / f"model {name}"), self.folder / f"{name}.mp4"
            with self.subTest(name, program="generate"):
                made = self.generate(model, video)
                self.assert_refused(made, 3, *parts)
                self.assertEqual(made.log.count("\n"), 1, made.said)
                self.assertFalse(video.exists())
                self.assertEqual(list(self.folder.glob(".*")), [])
            with self.subTest(name, program="render"):
                loaded = engine("render", "--model", model, "--device", "cpu")
                (event,) = [json.loads(line) for line in loaded.out.splitlines()] or [{}]
                self.assertEqual((loaded.code, event.get("type"), event.get("kind")), (3, "failed", "model"), loaded.said)
                for part in parts:
                    self.assertIn(part, event["message"])

    def test_a_run_on_a_damaged_checkpoint(self):
        jobs = self.write_jobs(program.small("a"))
        for name in ("experts of two sizes", "second expert cut off"):
            with self.subTest(name):
                ended = self.run_jobs(jobs, damage.make(SHAPES, name, self.folder / f"model {name}"))
                self.assert_refused(ended, 3, *damage.DAMAGES[name][1])
                if name in damage.OF_JSON:
                    self.assertFalse(self.out.exists(), "something was started")
        self.assertEqual([file for file in files_below(self.out) if not file.startswith(("logs/", "runs/"))], [])
        self.assert_nothing_added()

    def test_latents_that_are_not_finite_fail_their_job(self):
        model = self.folder / "model"
        damage.copy(SHAPES, model)
        damage.not_a_number(damage.TRANSFORMER, "proj_out.bias")(model)
        ran = self.run_jobs(self.write_jobs(program.small("a", max_attempts=9)), model)
        self.assert_ended(ran, 1)
        (said,) = json.loads(program.nightreel("status", "--json", "--redis", self.url).out)["jobs"]
        self.assertEqual((said["state"], said["attempts"]), ("failed", 2), "twice is no accident")
        (job,) = self.run_json()["jobs"]
        self.assertIn("not finite after step 1 of 2", job["error"]["message"])
        self.assertEqual([file for file in files_below(self.out) if not file.startswith(("logs/", "runs/"))], [])
        video = self.folder / "a.mp4"
        self.assert_refused(self.generate(model, video, "--num-inference-steps", "2"), 1, "not finite")
        self.assertFalse(video.exists())

    def test_names_out_of_files_and_paths_do_not_drive_a_terminal(self):
        """red-team.md, L1: the name in an index file reached the terminal as it stood."""
        model = self.folder / "model"
        damage.copy(SHAPES, model)
        for file in (model / "transformer").glob("*.safetensors"):
            file.unlink()
        hostile = "no\x1b[31m\n\x1b]0;owned\x07.safetensors"
        index = model / "transformer/diffusion_pytorch_model.safetensors.index.json"
        index.write_text(json.dumps({"metadata": {}, "weight_map": {"a": hostile}}))
        checked = engine("model", "check", model)
        self.assertEqual(checked.code, 3, checked.said)
        self.assertIn("no\\x1b[31m\\x0a\\x1b]0;owned\\x07.safetensors", checked.out)
        for ended in (checked, engine("model", "check", model, "--json"), engine("model", "info", "\x1b[31m\nx"),
                      engine("decode", "\x1b[31m\nx", "-o", self.folder / "y.mp4"), engine("model", "check", "\x1b[31m\nx")):
            self.assertNotEqual(ended.code, 0)
            self.assertNotRegex(ended.out + ended.log, "[\x00-\x09\x0b-\x1f\x7f]")
            self.assertLessEqual(ended.log.count("\n"), 1, ended.said)

    def test_a_pipe_in_a_files_place_is_not_waited_for(self):
        model = self.folder / "model"
        damage.copy(SHAPES, model)
        (model / "vae/config.json").unlink()
        os.mkfifo(model / "vae/config.json")
        self.assert_refused(engine("model", "info", model), 3, "vae/config.json", "no regular file")

    def test_what_is_no_checkpoint_folder(self):
        gguf = self.folder / "wan.gguf"
        gguf.write_bytes(b"GGUF" + bytes(100))
        single = self.folder / "wan.safetensors"
        single.write_bytes(bytes(100))
        (self.folder / "empty").mkdir()
        for model in (gguf, single, self.folder / "empty", self.folder / "nowhere"):
            with self.subTest(model.name):
                self.assert_refused(self.generate(model, self.folder / "x.mp4"), 3, str(model))


if __name__ == "__main__":
    program.main()
