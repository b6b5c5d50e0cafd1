"""What stands in OUT against what the queue says: gone, damaged, made otherwise, another queue's; and an OUT in which
nothing can be published. With tests/rank's fake renderer, whose videos are there at once.
"""
import hashlib
import json
import struct
import threading

import program
from program import BUILD, MPIRUN, SHAPES, nightreel, small

NAMES = ["a", "b"]


def lora_of(number):
    """A LoRA of one row and one column, whose numbers these four bytes are."""
    places = {"A": [0, 4], "B": [4, 8]}
    header = json.dumps({f"transformer.blocks.0.attn1.to_q.lora_{one}.weight":
                         {"dtype": "F32", "shape": [1, 1], "data_offsets": place} for one, place in places.items()}).encode()
    return struct.pack("<Q", len(header)) + header + 2 * number


class Standing(program.ProgramTest):
    def setUp(self):
        super().setUp()
        self.url = self.redis()
        self.program = self.with_fake_renderer()
        self.jobs = self.write_jobs(*(small(name) for name in NAMES))

    def run_again(self, *flags, jobs=None, queue="default", env=None, ranks=None):
        launcher = [*MPIRUN, "-np", ranks] if ranks else []
        lists = [self.jobs] if jobs is None else jobs
        return program.call([*launcher, self.program, "run", *lists, "--model", SHAPES, "--out", self.out, "--redis", self.url,
                             "--queue", queue, "--device", "cpu", *flags], env=env)

    def made(self, *flags, **how):
        """The log of a run that ends with 0."""
        ended = self.run_again(*flags, **how)
        self.assert_ended(ended, 0)
        self.assert_all_stand(*NAMES)
        return ended.log

    def video(self, name):
        return self.out / f"videos/{name}.mp4"

    def sidecar(self, name):
        return json.loads((self.out / f"videos/{name}.json").read_text())

    def files(self):
        """Which they are: a file's number alone is soon another's."""
        facts = {name: self.video(name).stat() for name in NAMES}
        return {name: (one.st_ino, one.st_mtime_ns) for name, one in facts.items()}

    def assert_all_stand(self, *names):
        for name in names:
            self.assertEqual(self.sidecar(name)["sha256"], hashlib.sha256(self.video(name).read_bytes()).hexdigest(), name)

    def summary_jobs(self):
        return {job["id"]: job for job in self.run_json()["jobs"]}

    def test_gone_and_damaged_videos_are_made_again_and_nothing_else_is(self):
        self.made()
        before = self.files()
        self.assertNotIn("video-missing", self.made())
        self.assertEqual(self.files(), before, "the same command again is free")

        self.video("a").unlink()
        self.assertIn("video-missing: a: was done, and its video is gone", self.made())
        self.assertEqual(self.files()["b"], before["b"])
        self.video("a").write_bytes(b"cut off")
        log = self.made()
        aside = self.out / f"videos/a.mp4.was-{hashlib.sha256(b'cut off').hexdigest()[:8]}"
        self.assertIn(f"it is set aside as {aside}", log)
        self.assertEqual(aside.read_bytes(), b"cut off")
        self.assertEqual(self.files()["b"], before["b"])

        for file in (self.out / "videos").iterdir():
            file.unlink()
        (self.out / "videos").rmdir()
        self.made()
        for name in NAMES:
            self.video(name).write_bytes(b"cut off")
        self.made(ranks=2)
        for name in NAMES:
            self.assertEqual(len(list(self.out.glob(f"videos/{name}.mp4.was-*"))), 1)
        self.video("b").unlink()
        self.made(jobs=[])  # the queue is the list then
        self.assertEqual({name: job["state"] for name, job in self.summary_jobs().items()}, {"b": "done"})

    def test_a_job_is_made_again_by_name(self):
        self.made()
        before = self.files()
        said = nightreel("retry", "a", "--redis", self.url)
        self.assertEqual((said.code, said.out), (1, "a: is done; `nightreel run --again a` makes it anew\n"))
        self.made("--again", "a")
        self.assertNotEqual(self.files()["a"], before["a"])
        self.assertEqual(self.files()["b"], before["b"])
        before = self.files()
        self.assert_ended(self.run_again("--again", "a", "--again", "b", jobs=[]), 0)
        self.assertFalse(set(self.files().values()) & set(before.values()))
        self.assert_refused(self.run_again("--again", "nobody"), 2, "--again: nobody: ")

    def test_videos_that_were_made_otherwise_are_kept_and_named_and_overwrite_makes_them_anew(self):
        self.made()
        before = self.files()
        (self.folder / "fake/digest").write_text("m2")
        for flags in ([], ["--crf", 30], ["--recipe", "checkpoint"]):
            log = self.made(*flags)
            self.assertEqual(log.count("kept: 2 videos made otherwise: a, b\n"), 1, log)
            self.assertEqual(self.files(), before)
            self.assertEqual(self.run_json()["model_digest"], "m2")
            self.assertEqual({job["model_digest"] for job in self.summary_jobs().values()}, {"m1"})
        self.assertNotIn("kept: ", self.made("--overwrite"))
        self.assertFalse(set(self.files().values()) & set(before.values()))
        self.assertEqual({self.sidecar(name)["model_digest"] for name in NAMES}, {"m2"})
        self.assertNotIn("model_digest", self.summary_jobs()["a"])
        before = self.files()
        self.assertNotIn("kept: ", self.made("--overwrite"))
        self.assertEqual(self.files(), before, "they are alike by now")
        self.assertIn("kept: 2 videos made otherwise: a, b\n", self.made("--crf", 30))

    def test_what_was_in_a_lora_counts_and_a_sidecar_that_says_less_counts_as_alike(self):
        lora = self.folder / "style.safetensors"
        lora.write_bytes(lora_of(b"one."))
        self.jobs = self.write_jobs(small("a", loras=[{"path": str(lora)}]), small("b"))
        self.made()
        lora.write_bytes(lora_of(b"two."))
        self.assertIn("kept: 1 videos made otherwise: a\n", self.made())
        told = self.sidecar("a")
        for field in ("inputs", "crf", "codec"):
            del told[field]  # as 0.1 wrote it
        for field in ("crf", "codec"):
            del told["settings"][field]
        (self.out / "videos/a.json").write_text(json.dumps(told))
        self.assertNotIn("kept: ", self.made())

    def test_two_queues_in_one_out_never_mix(self):
        names = [f"c{number:02}" for number in range(12)]
        lists = {queue: self.write_jobs(*(small(name, prompt=f"step_ms=1 of={queue}") for name in names), name=f"{queue}.jsonl")
                 for queue in ("q1", "q2")}
        ended = {}

        def make(queue):
            ended[queue] = self.run_again(jobs=[lists[queue]], queue=queue)

        threads = [threading.Thread(target=make, args=(queue,)) for queue in lists]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assert_all_stand(*names)
        owner = {name: self.sidecar(name)["settings"]["prompt"][-2:] for name in names}
        for queue, run in ended.items():
            self.assert_ended(run, 1 if set(owner.values()) != {queue} else 0)
            said = nightreel("status", "--json", "--all", "--redis", self.url, "--queue", queue)
            for job in json.loads(said.out)["jobs"]:
                mine = owner[job["id"]] == queue
                self.assertEqual(job["state"], "done" if mine else "failed", job)
                self.assertTrue(mine or "another job" in job["error"]["message"], job)
                archive = self.out / f"archive/{job['id']}.h5"
                self.assertTrue(archive.exists())

    def test_an_out_in_which_nothing_can_be_published_ends_the_run_before_the_first_video(self):
        mount = {"LD_PRELOAD": str(BUILD / "lib/libno_links.so"), "NO_LINKS": str(self.out)}
        ended = self.run_again(env=mount)
        self.assert_refused(ended, 3, "neither hard links nor renames that replace nothing", f"{self.out}/videos/",
                            "take an OUT on a local disk")
        said = nightreel("status", "--json", "--all", "--redis", self.url)
        self.assertEqual(json.loads(said.out)["jobs"], [], "nothing was added")
        self.assertEqual(list((self.out / "videos").iterdir()), [])
        doctor = nightreel("doctor", "--json", "--out", self.out, env=mount)
        (storage,) = [one for one in json.loads(doctor.out)["checks"] if one["check"] == "storage"]
        self.assertIn("neither hard links", storage["text"])
        self.assertIn("take an OUT on a local disk", storage["fix"])

    def test_a_deadline_counts_from_the_command_and_asks_what_such_videos_took(self):
        self.made()
        told = self.sidecar("a")
        told["timings"] = {"denoise": 7200.0}
        (self.out / "videos/a.json").write_text(json.dumps(told))
        self.jobs = self.write_jobs(small("late"))
        ended = self.run_again("--deadline", "1h")
        self.assert_ended(ended, 75)
        self.assertIn("deadline: late: is not begun: one of its size took 2 h 00 min", ended.log)
        self.assertFalse(self.video("late").exists())
        self.jobs = self.write_jobs(small("first", num_frames=9))
        ended = self.run_again("--deadline", "1h", queue="other")
        self.assert_ended(ended, 0)
        self.assertIn("deadline: first: is begun, though no finished video", ended.log)


if __name__ == "__main__":
    program.main()
