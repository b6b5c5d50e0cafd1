"""The main job under mpirun on models/shapes: every video there, the same bytes at any world size, honest exit codes.

Run by ctest with the folder of the binaries as its only argument.
"""
import hashlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest

BIN = pathlib.Path(sys.argv.pop())
SOURCE = pathlib.Path(os.environ["NIGHTREEL_SOURCE_DIR"])
JOBS = ["red-circle-right", "blue-square-left", "green-cross-up", "white-triangle-down"]


def mpirun(ranks, *arguments, wait=True):
    command = ["mpirun", "--oversubscribe", "--bind-to", "none", "-np", str(ranks), str(BIN / "nightreel"), *arguments]
    if os.geteuid() == 0:
        command.insert(1, "--allow-run-as-root")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if not wait:
        return process
    log, _ = process.communicate(timeout=120)
    return process.returncode, log


def digests(out):
    files = [*out.glob("videos/*.mp4"), *out.glob("videos/*.jpg"), *out.glob("archive/*.h5")]
    return {str(file.relative_to(out)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


class MainJob(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="nightreel-e2e-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def jobs(self, steps=4, **more):
        path = self.folder / "jobs.jsonl"
        lines = [json.dumps({"id": name, "prompt": "a " + name.replace("-", " "), "num_inference_steps": steps, **more})
                 for name in JOBS]
        path.write_text("\n".join(lines) + "\n")
        return str(path)

    def arguments(self, out, **more):
        return ["run", self.jobs(**more), "--model", str(SOURCE / "models/shapes"), "--out", str(out), "--threads", "1"]

    def test_same_bytes_with_one_rank_and_four_and_nothing_done_twice(self):
        outs = {ranks: self.folder / f"out{ranks}" for ranks in (1, 4)}
        for ranks, out in outs.items():
            code, log = mpirun(ranks, *self.arguments(out))
            self.assertEqual(code, 0, log)
        self.assertEqual(len(digests(outs[1])), 3 * len(JOBS))
        self.assertEqual(digests(outs[1]), digests(outs[4]))
        written = {file: file.stat().st_mtime_ns for file in outs[1].glob("videos/*")}
        code, log = mpirun(2, *self.arguments(outs[1]))
        self.assertEqual(code, 0, log)
        self.assertEqual(written, {file: file.stat().st_mtime_ns for file in outs[1].glob("videos/*")})

    def test_summary_and_sidecar_say_what_was_done(self):
        out = self.folder / "out"
        code, log = mpirun(2, *self.arguments(out))
        self.assertEqual(code, 0, log)
        (summary,) = [json.loads(file.read_text()) for file in out.glob("runs/*.json")]
        self.assertEqual((summary["exit_code"], summary["done"], summary["failed"]), (0, len(JOBS), 0))
        for name in JOBS:
            sidecar = json.loads((out / f"videos/{name}.json").read_text())
            self.assertEqual(sidecar["sha256"], digests(out)[f"videos/{name}.mp4"])
        self.assertFalse(list(out.glob("videos/.*")), "temporary files are left")

    def test_bad_file_is_refused_whole_before_anything_starts(self):
        bad = self.folder / "bad.jsonl"
        bad.write_text('{"prompt": "a red circle"}\n{"promt": "x"}\n')
        out = self.folder / "out"
        code, log = mpirun(1, "run", str(bad), "--model", str(SOURCE / "models/shapes"), "--out", str(out))
        self.assertEqual(code, 2, log)
        self.assertIn("bad.jsonl:2: promt: unknown field; did you mean prompt?", log)
        self.assertFalse(out.exists())

    def test_wrong_number_of_ranks_is_refused(self):
        code, log = mpirun(2, *self.arguments(self.folder / "out"), "--expect-ranks", "3")
        self.assertEqual(code, 3, log)

    def test_second_usr1_stops_with_75_and_the_same_command_goes_on(self):
        out = self.folder / "out"
        process = mpirun(2, *self.arguments(out, steps=400), wait=False)
        time.sleep(4)
        process.send_signal(signal.SIGUSR1)
        time.sleep(0.3)
        process.send_signal(signal.SIGUSR1)
        log, _ = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 75, log)
        code, log = mpirun(2, *self.arguments(out, steps=400))
        self.assertEqual(code, 0, log)
        self.assertEqual(len(list(out.glob("videos/*.mp4"))), len(JOBS))

    def test_rank_maps_no_libtorch(self):
        libraries = subprocess.run(["ldd", BIN / "nightreel"], capture_output=True, text=True, check=True).stdout
        self.assertNotIn("torch", libraries)
        self.assertIn("libmpi", libraries)


if __name__ == "__main__":
    unittest.main(verbosity=2)
