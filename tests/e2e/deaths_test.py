"""Renderers that are killed and ranks that are told to stop, at any time: every video once, nothing left behind.

Run under mpirun on models/shapes; where a renderer shall load for ever it is a script beside a copy of nightreel.
"""
import hashlib
import json
import os
import pathlib
import shutil
import signal
import sys
import time

import program
from program import MPIRUN, NIGHTREEL, SHAPES

sys.path.insert(0, str(program.SOURCE / "tests/chaos"))
from fault_case import FaultCase  # noqa: E402  (found by the line above)

JOBS = ["red-circle-right", "blue-square-left", "green-cross-up", "white-triangle-down"]
SLOW = "#!/bin/sh\nexec sleep 600\n"
STEPS, EVERY = 20, 10
SAVED = "renderer.after.rename.checkpoints.h5"


def digests(out):
    files = [*out.glob("videos/*.mp4"), *out.glob("videos/*.jpg"), *out.glob("archive/*.h5")]
    return {str(file.relative_to(out)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def parent_of(pid):
    try:
        return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError):
        return 0


def descendants(pid):
    """Process ids below `pid`, in no order."""
    parents = {int(entry.name): parent_of(entry.name) for entry in pathlib.Path("/proc").iterdir()
               if entry.name.isdigit()}
    found, todo = set(), [pid]
    while todo:
        one = todo.pop()
        new = {child for child, parent in parents.items() if parent == one}
        found |= new
        todo += new
    return found


def alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def name_of(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


class Deaths(FaultCase):
    real_renderer = True

    def command(self, out, *more, program=NIGHTREEL):
        jobs = self.write_jobs(*({"id": name, "prompt": "a " + name.replace("-", " "), "num_inference_steps": STEPS}
                                 for name in JOBS))
        return [*MPIRUN, "-np", 2, program, "run", jobs, "--model", SHAPES, "--out", out, "--threads", 1,
                "--checkpoint-every", EVERY, *more]

    def status(self):
        said = program.nightreel("status", "--json", "--all", "--out", self.out)
        return json.loads(said.out) if said.code == 0 else {"jobs": []}

    def start(self, *more, trap):
        self.trap(SAVED, trap)
        process = program.start(self.command(self.out, *more), env=self.environment())
        self.addCleanup(self.end, process)
        return process

    def start_and_stand_still(self, *more):
        """A run, the renderer in it that stands still in the middle of a video until the test lets it go on, and its job."""
        process = self.start(*more, trap="stop")
        renderer = self.went_off(SAVED)
        job = program.until(lambda: next((one for one in self.status()["jobs"] if one["state"] == "running" and one["step"]
                                          and self.renderer_of(one["rank"]) == renderer), None), 60)
        self.assertTrue(job, "no job was seen denoising")
        return process, renderer, job

    def renderer_of(self, rank):
        (log,) = self.out.glob(f"logs/*/rank-{rank}.jsonl")
        starts = [json.loads(line) for line in log.read_text().splitlines() if '"renderer-start"' in line]
        return int(starts[-1]["message"].split()[-1])

    def assert_all_gone(self, pids):
        program.until(lambda: not any(map(alive, pids)), 3)
        self.assertEqual([(pid, name_of(pid)) for pid in pids if alive(pid)], [])

    def test_a_renderer_that_is_killed_costs_its_job_one_attempt_and_no_video(self):
        undisturbed = self.folder / "undisturbed"
        self.assert_ended(program.call(self.command(undisturbed)), 0)
        process, killed, job = self.start_and_stand_still()
        os.kill(killed, signal.SIGKILL)
        ended = program.finish(process)
        self.assert_ended(ended, 0)
        self.assertEqual(digests(self.out), digests(undisturbed))
        attempts = {one["id"]: one["attempts"] for one in self.status()["jobs"]}
        self.assertEqual(attempts, {name: 2 if name == job["id"] else 1 for name in JOBS})
        self.assertIn("signal 9", ended.log)
        self.assertNotEqual(self.renderer_of(job["rank"]), killed)
        self.assertEqual([rank["error"] for rank in self.run_json()["ranks"]], [None, None])
        self.assertFalse([*self.out.glob("videos/.*"), *self.out.glob("archive/.*")])

    def test_a_rank_that_is_frozen_past_its_lease_publishes_nothing_of_it(self):
        process, renderer, job = self.start_and_stand_still("--lease", 3)
        # Ranks are numbered in the order in which mpirun started them.
        frozen = sorted(pid for pid in descendants(process.pid) if name_of(pid) == "nightreel")[job["rank"]]
        os.kill(frozen, signal.SIGSTOP)
        os.kill(renderer, signal.SIGCONT)  # it makes the video all the same
        try:
            again = program.until(lambda: next((one for one in self.status()["jobs"] if one["id"] == job["id"]
                                                and one["rank"] != job["rank"]), None), 60)
        finally:
            os.kill(frozen, signal.SIGCONT)
        self.assertTrue(again, "no other rank took the job")
        self.assert_ended(program.finish(process), 0)
        attempts = {one["id"]: one["attempts"] for one in self.status()["jobs"]}
        self.assertEqual(attempts[job["id"]], 2)
        sidecar = json.loads((self.out / f"videos/{job['id']}.json").read_text())
        self.assertEqual((sidecar["rank"], sidecar["attempt"]), (again["rank"], 2))
        self.assertEqual(sidecar["sha256"], digests(self.out)[f"videos/{job['id']}.mp4"])
        self.assertEqual(len(digests(self.out)), 3 * len(JOBS))
        self.assertFalse([*self.out.glob("videos/.*"), *self.out.glob("archive/.*")])

    def test_a_rank_that_is_killed_ends_the_run_and_the_same_command_goes_on(self):
        process, renderer, _ = self.start_and_stand_still("--lease", 3)
        started = descendants(process.pid)
        first = min(pid for pid in started if name_of(pid) == "nightreel")  # rank 0: it owns the private Redis
        os.kill(first, signal.SIGKILL)
        os.kill(renderer, signal.SIGCONT)
        self.assertNotEqual(program.finish(process).code, 0)
        self.assert_all_gone([pid for pid in started if name_of(pid) != "redis-server"])
        self.assert_ended(program.call(self.command(self.out, "--lease", 3)), 0)
        self.assertEqual(len(digests(self.out)), 3 * len(JOBS))
        self.assertEqual({one["state"] for one in self.status()["jobs"]}, {"done"})
        self.assert_all_gone(started)

    def loading(self):
        """Two ranks whose renderers load for ever; the process and all that it has started."""
        binaries = self.folder / "bin"
        binaries.mkdir()
        shutil.copy2(NIGHTREEL, binaries / "nightreel")
        (binaries / "nightreel-engine").write_text(SLOW)
        (binaries / "nightreel-engine").chmod(0o755)
        process = program.start(self.command(self.out, program=binaries / "nightreel"))
        self.assertTrue(program.until((self.out / "queue/address").exists))
        started = descendants(process.pid)
        names = sorted(map(name_of, started))
        self.assertEqual([name for name in names if name in ("redis-server", "sleep", "nightreel")],
                         ["nightreel", "nightreel", "redis-server", "sleep", "sleep"])
        return process, started

    def stop(self, process, started, send):
        ranks = [pid for pid in started if name_of(pid) == "nightreel"]
        send(ranks)
        asked = time.monotonic()
        program.until(lambda: not any(map(alive, ranks)), 5)
        took = time.monotonic() - asked
        ended = program.finish(process, 20)
        self.assert_ended(ended, 75)
        self.assert_all_gone(started)
        return took

    def test_told_to_stop_while_the_model_loads(self):
        process, started = self.loading()

        def twice(_):
            process.send_signal(signal.SIGUSR1)
            time.sleep(0.2)
            process.send_signal(signal.SIGUSR1)
        self.assertLess(self.stop(process, started, twice), 1.5)
        summary = self.run_json()
        self.assertEqual(summary["exit_code"], 75)
        self.assertIn("asked to stop", summary["error"])

    def test_one_rank_gets_sigterm_while_the_model_loads(self):
        process, started = self.loading()
        # The launcher ends the other, which notices only then.
        self.assertLess(self.stop(process, started, lambda ranks: os.kill(max(ranks), signal.SIGTERM)), 4)

    def test_sigterm_to_all_ranks_in_the_middle_of_a_night(self):
        process = self.start(trap="stop always")
        renderers = program.until(lambda: {pid for pid, *_ in self.log()} if len(self.log()) == 2 else None, 60)
        self.assertTrue(renderers, "both ranks in the middle of a video")
        self.untrap(SAVED)
        started = descendants(process.pid)

        def term(ranks):
            for pid in ranks:
                os.kill(pid, signal.SIGTERM)
            for pid in renderers:
                os.kill(pid, signal.SIGCONT)
        self.assertLess(self.stop(process, started, term), 1.5)
        self.assertEqual(self.run_json()["exit_code"], 75)
        for job in self.status()["jobs"]:
            self.assertEqual((job["state"], job["attempts"]), ("pending", 0))
        self.assertFalse([*self.out.glob("videos/.*"), *self.out.glob("archive/.*")])


if __name__ == "__main__":
    program.main()
