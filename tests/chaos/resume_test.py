"""A video that is gone on from its saved state: bit for bit that of an undisturbed run, whichever way the first attempt
ended, on another rank, host and world size; and states that nobody may go on from. On models/shapes.
"""
import hashlib
import json
import os
import signal

import fault_case
import program
from fault_case import FaultCase

STEPS, EVERY = 12, 4
SAVED = "renderer.after.rename.checkpoints.h5"
GAVE_BACK = "rank.after.send.release"
TRIES = 10


def video(name, steps=STEPS, **more):
    return program.small(name, steps=steps, **more)


class Resume(FaultCase):
    real_renderer = True

    def made(self, name, out=None):
        """What one job has come to: {file: sha256}, and its sidecar."""
        out = out or self.out
        files = [out / f"videos/{name}.mp4", out / f"videos/{name}.jpg", out / f"archive/{name}.h5"]
        sidecar = json.loads((out / f"videos/{name}.json").read_text())
        return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}, sidecar

    def undisturbed(self, *jobs):
        """{name: files} of a run of one rank in an OUT of its own."""
        out = self.folder / "undisturbed"
        path = self.write_jobs(*jobs, name="undisturbed.jsonl")
        ended = program.nightreel("run", path, "--model", program.SHAPES, "--out", out, "--threads", 1)
        self.assert_ended(ended, 0)
        return {one["id"]: self.made(one["id"], out)[0] for one in jobs}

    def test_after_a_crash(self):
        expected = self.undisturbed(video("a"))
        self.trap(SAVED, "kill")
        self.assert_ended(self.run_jobs([video("a")], "--checkpoint-every", EVERY), 0)
        files, sidecar = self.made("a")
        self.assertEqual((sidecar["resumed_step"], sidecar["attempt"]), (EVERY, 2))
        self.assertEqual(files, expected["a"])

    def preempt(self, job):
        """Stopped on host a with one rank, its state saved."""
        self.trap(SAVED, "stop")
        process = self.start_jobs([job], "--checkpoint-every", EVERY, ranks=1, env={"NIGHTREEL_HOSTNAME": "a"})
        self.went_off(SAVED)
        program.stop_at_once(process)
        self.assert_ended(program.finish(process), 75)
        return self.out / f"checkpoints/{job['id']}.h5"

    def test_after_preemption_on_another_host_rank_and_world_size(self):
        expected = self.undisturbed(video("a"))
        self.assertTrue(self.preempt(video("a")).exists())
        self.trap("rank0.before.send.claim", "stop")  # so that another rank takes it
        process = self.start_jobs([video("a")], ranks=3, env={"NIGHTREEL_HOSTNAME": "b"})
        self.assertTrue(program.until((self.out / "videos/a.mp4").exists, 60))
        os.kill(self.went_off("rank0.before.send.claim"), signal.SIGCONT)
        self.assert_ended(program.finish(process), 0)
        files, sidecar = self.made("a")
        self.assertEqual((sidecar["resumed_step"], sidecar["host"], sidecar["attempt"]), (EVERY, "b", 1))
        self.assertNotEqual(sidecar["rank"], 0)
        self.assertEqual(files, expected["a"])
        self.assertFalse(list((self.out / "checkpoints").iterdir()))

    def test_states_that_nobody_may_go_on_from_are_set_aside(self):
        jobs = {name: video(name, seed=number) for number, name in enumerate(("foreign", "cut", "nonsense", "empty"))}
        good = self.preempt(video("good"))
        expected = self.undisturbed(*jobs.values())
        data = good.read_bytes()
        for name, content in (("foreign", data), ("cut", data[:-100]), ("nonsense", b"\x89HDF\r\n\x1a\n" * 99), ("empty", b"")):
            (self.out / f"checkpoints/{name}.h5").write_bytes(content)
        self.assert_ended(self.run_jobs([video("good"), *jobs.values()]), 0)
        self.assertEqual(self.made("good")[1]["resumed_step"], EVERY)
        for name in jobs:
            files, sidecar = self.made(name)
            self.assertEqual((sidecar["resumed_step"], sidecar["attempt"]), (0, 1), name)
            self.assertEqual(files, expected[name])
        self.assertEqual(sorted(file.name for file in (self.out / "checkpoints").iterdir()),
                         sorted(f"{name}.h5.broken" for name in jobs))

    def denoising(self):
        job = self.status().get("a", {"state": None})
        return job["state"] == "running" and (job["step"] or 0) > 0

    def terminated_while_denoising(self, job, every):
        """One rank, told to stop when its renderer stands still in the middle of the video: no machine is so fast that the
        video has ended by then. The renderer goes on once the rank has asked it for its state and given the lease back."""
        self.trap(SAVED, "stop")
        self.trap(GAVE_BACK, "note")
        before = len(self.log())
        process = program.start([self.program, "run", self.write_jobs(job), "--model", program.SHAPES, "--out", self.out,
                                 "--threads", 1, "--redis", self.url, "--checkpoint-every", every], env=self.environment())
        self.addCleanup(self.end, process)
        log = program.until(lambda: self.log()[before:], 60)
        self.assertEqual([row[1] for row in log], [SAVED])
        self.assertTrue(program.until(self.denoising, 60), "not seen denoising")
        (self.out / f"checkpoints/{job['id']}.h5").unlink()  # so that the one found afterwards was saved on SIGTERM
        process.terminate()
        log = program.until(lambda: self.log()[before + 1:])
        os.kill(self.log()[before][0], signal.SIGCONT)
        self.assertEqual([row[1] for row in log], [GAVE_BACK])
        self.assert_ended(program.finish(process), 75)

    def test_sigterm_saves_the_state_if_a_step_ends_in_time(self):
        """A rank has a part of a second for it, which a busy machine may take away: it is given some tries."""
        steps, every = 200, 100  # saved by itself but once; as many steps are left for the renderer to hear of the end
        job, state = video("a", steps=steps), self.out / "checkpoints/a.h5"
        for _ in range(TRIES):
            self.terminated_while_denoising(job, every)
            if state.exists():
                break
        self.assertTrue(state.exists())
        self.assertEqual(self.attempts(), {"a": 0})
        self.assert_ended(self.run_jobs([job]), 0)
        files, sidecar = self.made("a")
        self.assertTrue(every < sidecar["resumed_step"] < steps, sidecar)
        self.assertEqual(files, self.undisturbed(job)["a"])


if __name__ == "__main__":
    fault_case.main()
