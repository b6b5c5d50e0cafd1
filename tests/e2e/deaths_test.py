"""Ranks that are frozen, killed and told to stop, at any time: every video once, nothing left behind.

The renderers are tests/rank's fake_renderer; the engine where its own end is looked at; and where a renderer shall load for
ever a script. What a renderer's death costs is in tests/chaos: stages_test.py, and with the engine resume_test.py.
"""
import json
import math
import os
import pathlib
import signal
import sys
import time

import program
from program import NIGHTREEL

sys.path.insert(0, str(program.SOURCE / "tests/chaos"))
from fault_case import FaultCase, job  # noqa: E402  (found by the line above)
from night import PREFIX, alive, environment_of, status_of  # noqa: E402
import side_by_side  # noqa: E402

load_tests = side_by_side.loader(threads=3)
NAMES = ["red", "blue", "green", "white"]
SLOW = "#!/bin/sh\nexec sleep 600\n"
STANDS_STILL = "at=denoise:2 do=stop"
SAVED = "renderer.after.rename.checkpoints.h5"
TRIES = 5
BY_FORCE = math.inf  # the seconds of a stop that wrote nothing down


def descendants(pid):
    """Process ids below `pid`, in no order."""
    parents = {int(entry.name): status_of(entry.name)[0] for entry in pathlib.Path("/proc").iterdir()
               if entry.name.isdigit()}
    found, todo = set(), [pid]
    while todo:
        one = todo.pop()
        new = {child for child, parent in parents.items() if parent == one}
        found |= new
        todo += new
    return found


def name_of(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def ranks_of(pids):
    """{rank: process} among these."""
    return {int(environment_of(pid)["OMPI_COMM_WORLD_RANK"]): pid for pid in pids if name_of(pid) == "nightreel"}


class Deaths(FaultCase):
    def standing_still(self, process, count):
        """The renderers of the run that have stopped by themselves, once there are so many."""
        def stopped():
            return [pid for pid in descendants(process.pid) if name_of(pid) == "fake_renderer" and status_of(pid)[1] == "T"]
        self.assertTrue(program.until(lambda: len(stopped()) == count, 120), f"{count} in the middle of a video")
        return stopped()

    def assert_all_gone(self, pids):
        program.until(lambda: not any(map(alive, pids)), 60)
        self.assertEqual([(pid, name_of(pid)) for pid in pids if alive(pid)], [])

    def test_a_rank_that_is_frozen_past_its_lease_publishes_nothing_of_it(self):
        process = self.start_jobs([job("held", STANDS_STILL), job("quiet")])
        (renderer,) = self.standing_still(process, 1)
        holder = self.client.hget(f"{PREFIX}job:held", "rank")
        frozen = ranks_of(descendants(process.pid))[int(holder)]
        self.assertEqual(status_of(renderer)[0], frozen)
        os.kill(frozen, signal.SIGSTOP)
        os.kill(renderer, signal.SIGCONT)  # it makes the video all the same
        try:
            self.assertTrue(program.until(lambda: list(self.out.glob("videos/.held.mp4.*")), 120))
            self.end_lease("held")
            again = program.until(lambda: self.client.hget(f"{PREFIX}job:held", "rank") != holder, 120)
        finally:
            os.kill(frozen, signal.SIGCONT)
        self.assertTrue(again, "no other rank took the job")
        self.assert_ended(self.finish(process), 0)
        self.assertEqual(self.attempts(), {"held": 2, "quiet": 1})
        self.assert_whole("held", "quiet")
        sidecar = json.loads((self.out / "videos/held.json").read_text())
        self.assertEqual((sidecar["rank"], sidecar["attempt"]), (1 - int(holder), 2))

    def test_a_rank_that_is_killed_ends_the_run_and_the_same_command_goes_on(self):
        self.program = NIGHTREEL
        command = self.command([program.small(name, steps=6) for name in NAMES], "--checkpoint-every", 4, "--lease", 3,
                               redis=False)
        self.trap(SAVED, "stop")
        process = program.start(command, env=self.environment())
        self.addCleanup(self.end, process)
        renderer = self.went_off(SAVED)
        started = descendants(process.pid)
        os.kill(ranks_of(started)[0], signal.SIGKILL)  # it owns the private Redis
        os.kill(renderer, signal.SIGCONT)
        self.assertNotEqual(self.finish(process).code, 0)
        self.assert_all_gone([pid for pid in started if name_of(pid) != "redis-server"])
        self.assert_ended(program.call(command, timeout=300), 0)
        self.assert_whole(*NAMES)
        self.assertEqual({one["state"] for one in self.private_status()}, {"done"})
        self.assert_all_gone(started)

    def private_status(self):
        said = program.nightreel("status", "--json", "--all", "--out", self.out)
        self.assert_ended(said, 0)
        return json.loads(said.out)["jobs"]

    def loading(self):
        """Two ranks whose renderers load for ever; the process and all that it has started."""
        (self.program.parent / "nightreel-engine").write_text(SLOW)
        process = program.start(self.command([job(name) for name in NAMES], redis=False))
        self.addCleanup(self.end, process)
        self.assertTrue(program.until((self.out / "queue/address").exists, 120))
        expected = ["nightreel", "nightreel", "redis-server", "sleep", "sleep"]

        def names():
            return sorted(name for name in map(name_of, descendants(process.pid)) if name in expected)
        self.assertTrue(program.until(lambda: names() == expected, 60), names())
        return process, descendants(process.pid)

    def stop(self, process, started, send):
        """Seconds until the ranks have ended."""
        ranks = [pid for pid in started if name_of(pid) == "nightreel"]
        asked = time.monotonic()
        send(ranks)
        self.assertTrue(program.until(lambda: not any(map(alive, ranks)), 60), "the ranks end")
        took = time.monotonic() - asked
        self.assert_ended(self.finish(process), 75)
        self.assert_all_gone(started)
        return took

    def assert_within(self, seconds, one_try):
        """A rank ends by force where it does not end by itself. A busy machine may take its time: it is given some tries."""
        took = []
        for number in range(TRIES):
            self.out = self.folder / f"out-{number}"
            took.append(one_try())
            if took[-1] < seconds:
                return
        self.fail(f"within {seconds} s: {took}")

    def test_told_to_stop_while_the_model_loads(self):
        def one_try():
            process, started = self.loading()
            took = self.stop(process, started, lambda _: program.stop_at_once(process))
            summary = self.stopped_json()
            if summary is None:
                return BY_FORCE
            self.assertEqual(summary["exit_code"], 75)
            self.assertIn("asked to stop", summary["error"])
            return took
        self.assert_within(1.5, one_try)

    def test_one_rank_gets_sigterm_while_the_model_loads(self):
        # The launcher ends the other, which notices only then.
        self.assert_within(4, lambda: self.stop(*self.loading(), lambda ranks: os.kill(max(ranks), signal.SIGTERM)))

    def test_sigterm_to_all_processes_in_the_middle_of_a_night(self):
        def one_try():
            jobs = [job(f"{self.out.name}-{name}", f"{STANDS_STILL} step_ms=50", steps=1000) for name in NAMES]
            process = self.start_jobs(jobs, redis=False)
            renderers = self.standing_still(process, 2)

            everybody = descendants(process.pid)

            def term(_):
                # As Slurm and systemd do it: redis-server and renderers, too.
                for pid in everybody:
                    os.kill(pid, signal.SIGTERM)
                for pid in renderers:
                    os.kill(pid, signal.SIGCONT)
            took = self.stop(process, everybody, term)
            if self.stopped_json() is None:
                return BY_FORCE
            self.assertEqual(self.stopped_json()["exit_code"], 75)
            self.assertEqual([(one["state"], one["attempts"]) for one in self.private_status()], [("pending", 0)] * len(jobs))
            self.assertFalse([*self.out.glob("videos/.*"), *self.out.glob("archive/.*")])
            return took
        self.assert_within(1.5, one_try)


if __name__ == "__main__":
    program.main()
