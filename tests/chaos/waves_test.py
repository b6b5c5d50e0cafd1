"""A rank that is told to stop in the middle of a wave, on the parity tests' model of two experts."""
import json
import os
import signal

import numpy

import fault_case
import program
from fault_case import FaultCase
from memory_test import EXPERTS, job, latents, memory_for_turns
from program import call, finish, nightreel

SAVED = "renderer.after.rename.checkpoints.h5"
NAMES = ["job-0", "job-1", "job-2"]


class Waves(FaultCase):
    real_renderer = True

    def stand_still(self, times):
        """The renderer, which has stopped at its `times`th state."""
        self.assertTrue(program.until(lambda: len(self.log()) >= times, 60), "the renderer has saved no state")
        return self.log()[-1][0]

    def on_disk(self):
        return sorted(path.stem for path in self.out.glob("checkpoints/job-*.h5"))

    def test_a_rank_that_is_told_to_stop_in_a_wave_loses_no_step_of_those_that_wait(self):
        # The renderer stands still at each state that it saves until the test has seen what it waits for; `long` has
        # hundreds of steps left with either expert by then, on whatever machine.
        jobs = [{**job("long", steps=1000), "priority": 1}, *(job(name, steps=8, seed=i) for i, name in enumerate(NAMES))]
        command = [self.program, "run", self.write_jobs(*jobs), "--model", EXPERTS, "--out", self.out, "--redis", self.url,
                   "--checkpoint-every", 100]
        turns = {"NIGHTREEL_GPU_MEMORY": str(memory_for_turns())}
        self.trap(SAVED, "stop")
        running = program.start(command, env=self.environment(**turns))
        self.addCleanup(self.end, running)
        stops = 1
        renderer = self.stand_still(stops)
        self.assertTrue(program.until(lambda: set(self.states().values()) == {"running"}, 60), self.states())
        while len(self.on_disk()) < 2:
            self.assertFalse((self.out / "videos/long.mp4").exists())
            self.trap(SAVED, "stop")
            os.kill(renderer, signal.SIGCONT)
            stops += 1
            renderer = self.stand_still(stops)
        running.terminate()
        self.assert_ended(finish(running), 75)
        left = self.on_disk()
        self.assertGreaterEqual(len(left), 2)
        self.assert_ended(nightreel("cancel", "long", "--redis", self.url), 0)
        self.assert_ended(call(command, env=turns), 0)
        plain = self.folder / "plain"
        self.assert_ended(nightreel("run", self.write_jobs(*jobs[1:], name="others.jsonl"), "--model", EXPERTS, "--out",
                                    plain), 0)
        for name in NAMES:
            numpy.testing.assert_array_equal(latents(self.out, name), latents(plain, name))
            sidecar = json.loads((self.out / f"videos/{name}.json").read_text())
            if name in left:
                self.assertGreater(sidecar["resumed_step"], 0, sidecar)


if __name__ == "__main__":
    fault_case.main()
