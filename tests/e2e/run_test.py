"""The main job under mpirun on models/shapes: every video there, the same bytes at any world size, honest exit codes."""
import hashlib
import json
import sys

import program
from program import MPIRUN, NIGHTREEL, SHAPES, mpirun, nightreel, until

sys.path.insert(0, str(program.SOURCE / "tests/chaos"))
from fault_case import FaultCase  # noqa: E402  (found by the line above)

JOBS = ["red-circle-right", "blue-square-left", "green-cross-up", "white-triangle-down"]
RANKS = 3


def digests(out):
    files = [*out.glob("videos/*.mp4"), *out.glob("videos/*.jpg"), *out.glob("archive/*.h5")]
    return {str(file.relative_to(out)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


class MainJob(FaultCase):
    real_renderer = True

    def arguments(self, out, steps=4):
        jobs = self.write_jobs(*(program.small(name, steps, prompt="a " + name.replace("-", " ")) for name in JOBS))
        return ["run", jobs, "--model", SHAPES, "--out", out, "--threads", "1"]

    def test_same_bytes_with_one_rank_and_three_and_nothing_done_twice(self):
        outs = {ranks: self.folder / f"out{ranks}" for ranks in (1, RANKS)}
        for ranks, out in outs.items():
            arguments = self.arguments(out)
            self.assert_ended(mpirun(ranks, *arguments) if ranks > 1 else nightreel(*arguments), 0)
            summary = self.run_json(out)
            self.assertEqual((summary["exit_code"], summary["done"], summary["failed"]), (0, len(JOBS), 0))
            self.assertEqual(sum(rank["done"] for rank in summary["ranks"]), len(JOBS))
            self.assertEqual(len(summary["ranks"]), ranks)
            self.assertEqual(list(out.glob("*/.*")), [], "temporary files are left")
        self.assertEqual(len(digests(outs[1])), 3 * len(JOBS))
        self.assertEqual(digests(outs[1]), digests(outs[RANKS]))
        self.assertEqual(len({digest for file, digest in digests(outs[1]).items() if file.endswith(".mp4")}), len(JOBS))

        written = {file: file.stat().st_mtime_ns for file in outs[RANKS].glob("videos/*")}
        self.assertEqual(len(written), 3 * len(JOBS))
        self.assert_ended(nightreel(*self.arguments(outs[RANKS])), 0)
        self.assertEqual(written, {file: file.stat().st_mtime_ns for file in outs[RANKS].glob("videos/*")})

    def test_second_usr1_stops_with_75_and_the_same_command_goes_on(self):
        command = [*self.arguments(self.out, steps=8), "--checkpoint-every", 4]
        self.trap("renderer.after.rename.checkpoints.h5", "stop always")  # both in the middle of a video
        process = program.start([*MPIRUN, "-np", 2, NIGHTREEL, *command], env=self.environment())
        self.addCleanup(self.end, process)
        self.assertTrue(until(lambda: len(self.log()) == 2, 120))
        program.stop_at_once(process)
        self.assert_ended(program.finish(process), 75)
        self.assertEqual((self.stopped_json() or {"exit_code": 75})["exit_code"], 75)
        self.assertEqual(digests(self.out), {})
        self.assertEqual(len(list(self.out.glob("checkpoints/*.h5"))), 2)
        self.assert_ended(nightreel(*command), 0)
        resumed = [json.loads(file.read_text())["resumed_step"] for file in self.out.glob("videos/*.json")]
        self.assertEqual(sorted(resumed), [0, 0, 4, 4])
        self.assertEqual(len(digests(self.out)), 3 * len(JOBS))


if __name__ == "__main__":
    program.main()
