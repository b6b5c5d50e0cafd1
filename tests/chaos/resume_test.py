"""A video that is gone on from its saved state: bit for bit that of an undisturbed run, whichever way the first attempt
ended, on another rank, host and world size; and states that nobody may go on from. On models/shapes.
"""
import hashlib
import json
import os
import pathlib
import shutil
import signal
import tempfile

import fault_case
import program
import side_by_side
from fault_case import FaultCase

load_tests = side_by_side.loader(threads=2)
STEPS, EVERY = 12, 4
LONG = 200  # of which so many are left in the middle that a renderer hears of the end before it is there
SAVED = "renderer.after.rename.checkpoints.h5"
GAVE_BACK = "rank.after.send.release"
TRIES = 10
BROKEN = ("foreign", "cut", "nonsense", "empty")


def video(name, steps=STEPS, **more):
    return program.small(name, steps=steps, **more)


VIDEOS = {one["id"]: one for one in (video("a"), *(video(name, seed=number) for number, name in enumerate(BROKEN)),
                                     video("long", LONG))}


class Resume(FaultCase):
    real_renderer = True

    @classmethod
    def setUpClass(cls):
        """All videos by one rank, undisturbed."""
        cls.undisturbed = pathlib.Path(tempfile.mkdtemp(prefix="nightreel-e2e-"))
        cls.addClassCleanup(shutil.rmtree, cls.undisturbed)
        jobs = cls.undisturbed / "jobs.jsonl"
        jobs.write_text("".join(json.dumps(one) + "\n" for one in VIDEOS.values()))
        ended = program.nightreel("run", jobs, "--model", program.SHAPES, "--out", cls.undisturbed, "--threads", 1,
                                  timeout=300)
        assert ended.code == 0, ended.said

    def made(self, name, out=None):
        """What one job has come to: {file: sha256}, and its sidecar."""
        out = out or self.out
        files = [out / f"videos/{name}.mp4", out / f"videos/{name}.jpg", out / f"archive/{name}.h5"]
        sidecar = json.loads((out / f"videos/{name}.json").read_text())
        return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}, sidecar

    def assert_undisturbed(self, name):
        """Its files; returns its sidecar."""
        files, sidecar = self.made(name)
        self.assertEqual(files, self.made(name, self.undisturbed)[0], name)
        return sidecar

    def test_after_a_crash(self):
        names = ["a", "foreign"]
        self.trap(SAVED, "kill")
        ended = self.run_jobs([VIDEOS[name] for name in names], "--checkpoint-every", EVERY)
        self.assert_ended(ended, 0)
        self.assertRegex(ended.log, ": renderer-died: signal 9 ")
        self.assert_whole(*names)
        done = sorted((self.assert_undisturbed(name) for name in names), key=lambda sidecar: sidecar["attempt"])
        self.assertEqual([(one["attempt"], one["resumed_step"]) for one in done], [(1, 0), (2, EVERY)])
        self.assertEqual(sorted(self.attempts().values()), [1, 2])
        self.assertEqual([rank["error"] for rank in self.run_json()["ranks"]], [None, None])
        self.assertFalse(list((self.out / "checkpoints").iterdir()))

    def preempt(self, job):
        """Stopped on host a with one rank, its state saved."""
        self.trap(SAVED, "stop")
        process = self.start_jobs([job], "--checkpoint-every", EVERY, ranks=1, env={"NIGHTREEL_HOSTNAME": "a"})
        self.went_off(SAVED)
        program.stop_at_once(process)
        self.assert_ended(self.finish(process), 75)
        return self.out / f"checkpoints/{job['id']}.h5"

    def test_after_preemption_on_another_host_rank_and_world_size_and_from_no_state_that_is_not_its_own(self):
        data = self.preempt(VIDEOS["a"]).read_bytes()
        contents = dict(zip(BROKEN, (data, data[:-100], b"\x89HDF\r\n\x1a\n" * 99, b"")))
        for name, content in contents.items():
            (self.out / f"checkpoints/{name}.h5").write_bytes(content)
        self.trap("rank0.before.send.claim", "stop")  # so that another rank takes them
        names = ["a", *BROKEN]
        process = self.start_jobs([VIDEOS[name] for name in names], ranks=2, env={"NIGHTREEL_HOSTNAME": "b"})
        self.assertTrue(program.until((self.out / "videos/a.mp4").exists, 120))
        os.kill(self.went_off("rank0.before.send.claim"), signal.SIGCONT)
        self.assert_ended(self.finish(process), 0)
        sidecar = self.assert_undisturbed("a")
        self.assertEqual([sidecar[field] for field in ("resumed_step", "host", "attempt", "rank")], [EVERY, "b", 1, 1])
        for name in BROKEN:
            sidecar = self.assert_undisturbed(name)
            self.assertEqual((sidecar["resumed_step"], sidecar["attempt"]), (0, 1), name)
        self.assertEqual(sorted(file.name for file in (self.out / "checkpoints").iterdir()),
                         sorted(f"{name}.h5.broken" for name in BROKEN))

    def terminated_while_denoising(self, job, every):
        """One rank, told to stop when its renderer stands still in the middle of the video: no machine is so fast that the
        video has ended by then. The renderer goes on once the rank has asked it for its state and given the lease back."""
        self.trap(SAVED, "stop")
        self.trap(GAVE_BACK, "note")
        before = len(self.log())
        process = program.start([self.program, "run", self.write_jobs(job), "--model", program.SHAPES, "--out", self.out,
                                 "--threads", 1, "--redis", self.url, "--checkpoint-every", every], env=self.environment())
        self.addCleanup(self.end, process)
        log = program.until(lambda: self.log()[before:], 120)
        self.assertEqual([row[1] for row in log], [SAVED])
        self.assertEqual(self.begun(), [job["id"]], "not seen denoising")
        (self.out / f"checkpoints/{job['id']}.h5").unlink()  # so that the one found afterwards was saved on SIGTERM
        process.terminate()
        log = program.until(lambda: self.log()[before + 1:], 60)
        os.kill(self.log()[before][0], signal.SIGCONT)
        self.assertEqual([row[1] for row in log], [GAVE_BACK])
        self.assert_ended(self.finish(process), 75)

    def test_sigterm_saves_the_state_if_a_step_ends_in_time(self):
        """A rank has a part of a second for it, which a busy machine may take away: it is given some tries."""
        job, state = VIDEOS["long"], self.out / "checkpoints/long.h5"
        for _ in range(TRIES):
            self.terminated_while_denoising(job, LONG // 2)
            if state.exists():
                break
        self.assertTrue(state.exists())
        self.assertEqual(self.attempts(), {"long": 0})
        self.assert_ended(self.run_jobs([job], ranks=1), 0)
        self.assertTrue(LONG // 2 < self.assert_undisturbed("long")["resumed_step"] < LONG)


if __name__ == "__main__":
    fault_case.main()
