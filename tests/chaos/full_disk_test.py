"""OUT on a file system that is full, or read-only: on a real one (tmpfs), mounted in a namespace of this test's own.

Skipped (code 77) where this user may mount nothing.
"""
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(os.environ["NIGHTREEL_SOURCE_DIR"]) / "tests/e2e"))
import own_mounts  # noqa: E402  (found by the line above)

own_mounts.enter()

import fault_case  # noqa: E402  (inside the namespace)
import program  # noqa: E402
from fault_case import FaultCase  # noqa: E402

# Large enough that the disk is full after some of them.
JOBS = [program.small(f"job-{number}", seed=number, num_frames=17, height=48, width=48) for number in range(6)]
NAMES = [job["id"] for job in JOBS]


class FullDisk(FaultCase):
    real_renderer = True

    def setUp(self):
        super().setUp()
        own_mounts.mount_tmpfs(self, self.out, "size=4m")

    def remount(self, options):
        subprocess.run(["mount", "-o", f"remount,{options}", self.out], check=True)

    def fill(self, leave):
        """Takes the space but for so many bytes."""
        about = os.statvfs(self.out)
        with open(self.out / "ballast", "wb") as file:
            file.write(b"x" * (about.f_bavail * about.f_frsize - leave))

    def run_them(self, **how):
        return self.run_jobs(JOBS, "--archive", "frames", "--max-attempts", 9, env={"LD_PRELOAD": ""}, **how)

    def assert_only_whole(self):
        """Every video that has its name has its set, and is what its sidecar says."""
        self.assert_whole(*(video.stem for video in (self.out / "videos").glob("[!.]*.mp4")), exactly=False)

    def test_a_disk_that_fills_up_stops_the_run_and_room_lets_it_go_on(self):
        for private in (False, True):
            with self.subTest(private=private):
                self.fill(400 << 10)
                ended = self.run_them(redis=not private)
                self.assert_ended(ended, 3)
                self.assertIn(os.strerror(28), ended.log)
                self.assert_only_whole()
                self.remount("size=64m")
                self.assert_ended(self.run_them(redis=not private), 0)
                (self.out / "ballast").unlink()
                self.assert_whole(*NAMES)
                for folder in ("videos", "archive", "checkpoints"):
                    for file in (self.out / folder).iterdir():
                        file.unlink()
                self.remount("size=4m")

    def test_an_out_that_is_read_only_is_named_in_one_line(self):
        self.assert_ended(self.run_jobs(JOBS[:1], env={"LD_PRELOAD": ""}), 0)
        self.remount("ro")
        for how in ({}, {"redis": False}):
            ended = self.run_jobs(JOBS, env={"LD_PRELOAD": ""}, **how)
            self.assert_refused(ended, 3, str(self.out), os.strerror(30))
        self.assertEqual(self.states(), {JOBS[0]["id"]: "done"})


if __name__ == "__main__":
    fault_case.main()
