"""Malformed job files and checkpoints, as `run` and `generate` meet them: one line that names the file and what in it
is wrong, the right exit code, nothing added to the queue, nothing half-written.
"""
import concurrent.futures
import json

import redis

import damage
import program
from program import SHAPES, SOURCE

REFUSED_TOGETHER = {"pretty_printed"}  # a job over many lines: a message for each of them


def expected_messages():
    table = SOURCE / "tests/job/bad/expected.tsv"
    return dict(line.split("\t", 1) for line in table.read_text().splitlines())


def files_below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) if folder.exists() else []


class Malformed(program.ProgramTest):
    def setUp(self):
        super().setUp()
        self.url = self.redis()

    def assert_nothing_added(self):
        client = redis.Redis.from_url(self.url)
        self.assertEqual(client.keys("*"), [])

    def test_job_files(self):
        expected = expected_messages()
        self.assertGreaterEqual(len(expected), 20)
        for name, part in expected.items():
            path = SOURCE / f"tests/job/bad/{name}.jsonl"
            with self.subTest(name):
                ended = program.nightreel("run", path, "--model", SHAPES, "--out", self.out, "--redis", self.url)
                self.assertEqual(ended.code, 2, ended.said)
                self.assertTrue(ended.log.startswith(f"nightreel: {path}:"), ended.said)
                self.assertIn(part, ended.log)
                if name not in REFUSED_TOGETHER:
                    self.assertEqual(ended.log.count("\n"), 1, ended.said)
                self.assertFalse(self.out.exists())
        good = self.write_jobs(program.small("good"))
        ended = program.mpirun(3, "run", good, path, "--model", SHAPES, "--out", self.out, "--redis", self.url)
        self.assert_refused(ended, 2, f"{path}:")
        self.assertFalse(self.out.exists())
        self.assert_nothing_added()

    def test_job_files_that_only_the_model_can_judge(self):
        for job, parts in [({"height": 50}, ("height", "48")), ({"num_frames": 16}, ("num_frames", "17")),
                           ({"image": str(SOURCE / "tests/e2e/malformed_test.py")}, ("image",))]:
            path = self.write_jobs({"prompt": "a red circle"}, {"prompt": "x", **job})
            with self.subTest(job):
                ended = program.nightreel("run", path, "--model", SHAPES, "--out", self.out, "--redis", self.url)
                self.assert_refused(ended, 2, f"{path}:2: ", *parts)
                self.assertFalse(self.out.exists())
        self.assert_nothing_added()

    def load(self, name):
        """A checkpoint's end in `run` and in `generate`."""
        model = damage.make(SHAPES, name, self.folder / f"model {name}")
        jobs = self.folder / "jobs.jsonl"
        out = self.folder / f"out {name}"
        ran = program.nightreel("run", jobs, "--model", model, "--out", out, "--redis", self.url, "--threads", "1")
        video = self.folder / f"{name}.mp4"
        made = program.nightreel("generate", "--model", model, "--prompt", "a red circle", "-o", video, "--threads", "1")
        return out, ran, video, made

    def test_checkpoints(self):
        self.assertGreaterEqual(len(damage.DAMAGES), 20)
        self.write_jobs(program.small("a"))
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            loaded = dict(zip(damage.DAMAGES, pool.map(self.load, damage.DAMAGES)))
        for name, (out, ran, video, made) in loaded.items():
            parts = damage.DAMAGES[name][1]
            with self.subTest(name, program="run"):
                self.assert_refused(ran, 3, *parts)
                if name in damage.OF_JSON:
                    self.assertFalse(out.exists(), "something was started")
                self.assertEqual([file for file in files_below(out) if not file.startswith(("logs/", "runs/"))], [])
            with self.subTest(name, program="generate"):
                self.assert_refused(made, 3, *parts)
                self.assertEqual(made.log.count("\n"), 1, made.said)
                self.assertFalse(video.exists())
                self.assertEqual(list(self.folder.glob(".*")), [])
        self.assert_nothing_added()

    def test_latents_that_are_not_finite_fail_their_job(self):
        model = self.folder / "model"
        damage.copy(SHAPES, model)
        damage.not_a_number(damage.TRANSFORMER, "proj_out.bias")(model)
        jobs = self.write_jobs(program.small("a", max_attempts=9))
        ran = program.nightreel("run", jobs, "--model", model, "--out", self.out, "--redis", self.url, "--threads", "1")
        self.assert_ended(ran, 1)
        (said,) = json.loads(program.nightreel("status", "--json", "--redis", self.url).out)["jobs"]
        self.assertEqual((said["state"], said["attempts"]), ("failed", 2), "twice is no accident")
        (job,) = self.run_json()["jobs"]
        self.assertIn("not finite after step 1 of 2", job["error"]["message"])
        self.assertEqual([file for file in files_below(self.out) if not file.startswith(("logs/", "runs/"))], [])
        video = self.folder / "a.mp4"
        made = program.nightreel("generate", "--model", model, "--prompt", "x", "--num-inference-steps", "2", "-o", video)
        self.assert_refused(made, 1, "not finite")
        self.assertFalse(video.exists())

    def test_a_state_file_that_cannot_be_read_is_put_aside_and_the_job_starts_afresh(self):
        jobs = self.write_jobs(program.small("a"))
        (self.out / "checkpoints").mkdir(parents=True)
        (self.out / "checkpoints/a.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(range(256)) * 20)
        ran = program.nightreel("run", jobs, "--model", SHAPES, "--out", self.out, "--redis", self.url, "--threads", "1")
        self.assert_ended(ran, 0)
        self.assertEqual(json.loads((self.out / "videos/a.json").read_text())["resumed_step"], 0)
        self.assertFalse((self.out / "checkpoints/a.h5").exists())

    def test_what_is_no_checkpoint_folder(self):
        gguf = self.folder / "wan.gguf"
        gguf.write_bytes(b"GGUF" + bytes(100))
        single = self.folder / "wan.safetensors"
        single.write_bytes(bytes(100))
        (self.folder / "empty").mkdir()
        jobs = self.write_jobs(program.small("a"))
        for model in (gguf, single, self.folder / "empty", self.folder / "nowhere"):
            with self.subTest(model.name):
                for ended in (program.nightreel("run", jobs, "--model", model, "--out", self.out),
                              program.nightreel("generate", "--model", model, "--prompt", "x", "-o", self.folder / "x.mp4")):
                    self.assert_refused(ended, 3, str(model))
                self.assertFalse(self.out.exists())


if __name__ == "__main__":
    program.main()
