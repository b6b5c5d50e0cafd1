"""The main job under mpirun on models/shapes: every video there, the same bytes at any world size, honest exit codes."""
import hashlib
import sys

import program
from program import MPIRUN, NIGHTREEL, SHAPES, mpirun, until

sys.path.insert(0, str(program.SOURCE / "tests/chaos"))
from fault_case import FaultCase  # noqa: E402  (found by the line above)

JOBS = ["red-circle-right", "blue-square-left", "green-cross-up", "white-triangle-down"]


def digests(out):
    files = [*out.glob("videos/*.mp4"), *out.glob("videos/*.jpg"), *out.glob("archive/*.h5")]
    return {str(file.relative_to(out)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


class MainJob(FaultCase):
    real_renderer = True

    def arguments(self, out, steps=4):
        jobs = self.write_jobs(*({"id": name, "prompt": "a " + name.replace("-", " "), "num_inference_steps": steps}
                                 for name in JOBS))
        return ["run", jobs, "--model", SHAPES, "--out", out, "--threads", "1"]

    def test_same_bytes_with_one_rank_and_four_and_nothing_done_twice(self):
        outs = {ranks: self.folder / f"out{ranks}" for ranks in (1, 4)}
        for ranks, out in outs.items():
            self.assert_ended(mpirun(ranks, *self.arguments(out)), 0)
            summary = self.run_json(out)
            self.assertEqual((summary["exit_code"], summary["done"], summary["failed"]), (0, len(JOBS), 0))
            self.assertEqual(sum(rank["done"] for rank in summary["ranks"]), len(JOBS))
            self.assertEqual(list(out.glob("*/.*")), [], "temporary files are left")
        self.assertEqual(len(digests(outs[1])), 3 * len(JOBS))
        self.assertEqual(digests(outs[1]), digests(outs[4]))

        written = {file: file.stat().st_mtime_ns for file in outs[1].glob("videos/*")}
        self.assert_ended(mpirun(2, *self.arguments(outs[1])), 0)
        self.assertEqual(written, {file: file.stat().st_mtime_ns for file in outs[1].glob("videos/*")})

    def test_second_usr1_stops_with_75_and_the_same_command_goes_on(self):
        command = [*self.arguments(self.out, steps=8), "--checkpoint-every", 4]
        self.trap("renderer.after.rename.checkpoints.h5", "stop always")  # both in the middle of a video
        process = program.start([*MPIRUN, "-np", 2, NIGHTREEL, *command], env=self.environment())
        self.addCleanup(self.end, process)
        self.assertTrue(until(lambda: len(self.log()) == 2, 60))
        program.stop_at_once(process)
        self.assert_ended(program.finish(process), 75)
        self.assertEqual(self.run_json()["exit_code"], 75)
        self.assertEqual(digests(self.out), {})
        self.assert_ended(mpirun(2, *command), 0)
        self.assertEqual(len(digests(self.out)), 3 * len(JOBS))


if __name__ == "__main__":
    program.main()
