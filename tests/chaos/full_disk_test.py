"""OUT on a file system that is full, or read-only: on a real one (tmpfs), mounted in a namespace of this test's own. Full it
is for the engine where Redis is elsewhere, and for a private Redis with tests/rank's fake_renderer.

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
from fault_case import FaultCase, job  # noqa: E402

# Large enough, or so many, that the disk is full after some of them.
ENGINES = [program.small(f"job-{number}", seed=number, num_frames=17, height=48, width=48) for number in range(6)]
FAKES = [job(f"job-{number}") for number in range(24)]


class FullDisk(FaultCase):
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

    def assert_only_whole(self):
        """Every video that has its name has its set, and is what its sidecar says."""
        self.assert_whole(*(video.stem for video in (self.out / "videos").glob("[!.]*.mp4")), exactly=False)

    def fills_up(self, jobs, leave, *flags, **how):
        def run():
            return self.run_jobs(jobs, "--archive", "frames", "--max-attempts", 9, *flags, env={"LD_PRELOAD": ""}, **how)
        self.fill(leave)
        ended = run()
        self.assert_ended(ended, 3)
        self.assertIn(os.strerror(28), ended.log)
        self.assert_only_whole()
        self.remount("size=64m")
        self.assert_ended(run(), 0)
        self.assert_whole(*(one["id"] for one in jobs))

    def test_a_disk_that_fills_up_stops_the_run_and_room_lets_it_go_on(self):
        self.program = program.NIGHTREEL
        self.fills_up(ENGINES, 400 << 10)

    def test_so_it_does_with_a_private_redis_on_it(self):
        # Leases cannot be given back to a server that has ended: the second run waits for their end.
        self.fills_up(FAKES, 300 << 10, "--lease", 3, redis=False)

    def test_an_out_that_is_read_only_is_named_in_one_line(self):
        self.assert_ended(self.run_jobs(FAKES[:1], env={"LD_PRELOAD": ""}), 0)
        self.remount("ro")
        for how in ({}, {"redis": False}):
            ended = self.run_jobs(FAKES, env={"LD_PRELOAD": ""}, **how)
            self.assert_refused(ended, 3, str(self.out), os.strerror(30))
        self.assertEqual(self.states(), {FAKES[0]["id"]: "done"})


if __name__ == "__main__":
    fault_case.main()
