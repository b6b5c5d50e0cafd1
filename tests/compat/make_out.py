"""Made out-0.1.tar.xz, once, with the binary of e027eb8: an OUT that version 0.1 left when it was stopped by TERM.

    python make_out.py NIGHTREEL OUT_TAR      NIGHTREEL: e027eb8's own nightreel

On models/shapes: two videos half done, five jobs pending, one delayed (its renderer was killed three times), one failed (its
renderer was killed in its only attempt), two done, and the private Redis' data. Kept to tell how it came about: a later
version cannot make it again.
"""
import collections
import json
import os
import pathlib
import signal
import subprocess
import sys
import tarfile
import tempfile
import time

SOURCE = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(SOURCE / "tests/chaos"))
from night import MPIRUN, environment_of, status_of  # noqa: E402  (found by the line above)

SHAPES = SOURCE / "models/shapes"


def job(name, prompt, **more):
    return {"id": name, "prompt": prompt, "num_frames": 9, "height": 32, "width": 32, **more}


DONE = [job("done-1", "a red circle moves left on a black background", num_inference_steps=6),
        job("done-2", "a blue square moves up on a black background", num_inference_steps=6)]
KILLED = [job("delayed", "a green cross moves down on a black background", num_inference_steps=400, priority=9, width=64,
              height=64, max_attempts=9),
          job("failed", "a white circle moves up on a black background", num_inference_steps=400, priority=8, max_attempts=1,
              width=64, height=64)]
HALF = [job("half-1", "a red square moves right on a black background", num_inference_steps=300, priority=3, width=64,
            height=64),
        job("half-2", "a blue circle moves left on a black background", num_inference_steps=300, priority=3, width=64,
            height=64, guidance_scale=4.0)]
WAIT = [job(f"wait-{number}", f"a {colour} cross moves left on a black background", num_inference_steps=6)
        for number, colour in enumerate(("red", "green", "blue", "white", "red"), 1)]
KILLS = 3


class Maker:
    def __init__(self, nightreel, folder):
        self.nightreel, self.folder, self.out = nightreel, folder, folder / "out"

    def file(self, name, jobs):
        path = self.folder / name
        path.write_text("".join(json.dumps(one) + "\n" for one in jobs))
        return path

    def command(self, ranks, jobs):
        return [*MPIRUN, "-np", str(ranks), self.nightreel,
                "run", str(jobs), "--model", str(SHAPES), "--out", str(self.out), "--checkpoint-every", "2"]

    def jobs(self):
        said = subprocess.run([self.nightreel, "status", "--json", "--all", "--out", str(self.out)], capture_output=True,
                              text=True, check=False)
        return {one["id"]: one for one in json.loads(said.stdout)["jobs"]} if said.returncode == 0 else {}

    def wait(self, wanted):
        while not wanted(jobs := self.jobs()):
            time.sleep(0.1)
        return jobs

    def ranks(self):
        """{rank: (its pid, its renderer's)} of this run."""
        found = {}
        for entry in pathlib.Path("/proc").iterdir():
            try:
                if "nightreel-engine" not in (entry / "cmdline").read_text():
                    continue
                parent = status_of(entry.name)[0]
                if str(self.out) in pathlib.Path(f"/proc/{parent}/cmdline").read_text():
                    found[int(environment_of(parent)["OMPI_COMM_WORLD_RANK"])] = (parent, int(entry.name))
            except (OSError, ValueError, KeyError, IndexError):
                continue
        return found

    def kill_renderer_of(self, name):
        running = self.wait(lambda jobs: jobs.get(name, {}).get("state") == "running" and (jobs[name]["step"] or 0) > 2)
        os.kill(self.ranks()[running[name]["rank"]][1], signal.SIGKILL)
        self.wait(lambda jobs: jobs[name]["state"] in ("delayed", "failed"))

    def submit(self, name, jobs):
        subprocess.run([self.nightreel, "submit", str(self.file(name, jobs)), "--out", str(self.out)], check=True)

    def make(self):
        subprocess.run(self.command(1, self.file("done.jsonl", DONE)), check=True)
        run = subprocess.Popen(self.command(2, self.file("killed.jsonl", KILLED)))
        self.kill_renderer_of("failed")
        for _ in range(KILLS):
            self.kill_renderer_of("delayed")
        self.submit("half.jsonl", HALF)
        self.wait(lambda jobs: all((jobs[name]["step"] or 0) > 2 for name in ("half-1", "half-2")))
        self.submit("wait.jsonl", WAIT)
        for rank, _ in self.ranks().values():
            os.kill(rank, signal.SIGTERM)
        print("the run ended with", run.wait())
        states = collections.Counter(one["state"] for one in self.jobs().values())
        if states != {"done": 2, "failed": 1, "delayed": 1, "pending": 7}:
            sys.exit(f"not as wanted: {states}")


def main():
    nightreel, target = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="nightreel-compat-") as folder:
        maker = Maker(nightreel, pathlib.Path(folder))
        maker.make()
        with tarfile.open(target, "w:xz") as tar:
            tar.add(maker.out, "out")


if __name__ == "__main__":
    main()
