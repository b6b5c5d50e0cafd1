"""tests/support/machine.py: silent on a sound machine, and for every fault one line that names it, with its fix."""
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
import unittest

MACHINE = pathlib.Path(__file__).with_name("machine.py")
DEVICES = ("null", "zero", "urandom")
KEPT = ("PATH", "HOME", "LD_LIBRARY_PATH")


class Machine(unittest.TestCase):
    """A machine made of a temporary folder: its devices are links to the real ones."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="nightreel-machine-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        for name in ("dev/shm", "temp", "source/src", "source/build"):
            (self.folder / name).mkdir(parents=True)
        for name in DEVICES:
            (self.folder / "dev" / name).symlink_to(f"/dev/{name}")
        (self.folder / "source/src/main.cpp").touch()

    def look(self, *arguments, limits=(), **variables):
        """Of the stand-in, which asks for little room: how much the real folders have is not this test's to say."""
        def lower():
            for kind, most in limits:
                resource.setrlimit(kind, (most, resource.getrlimit(kind)[1]))
        environment = {name: os.environ[name] for name in KEPT if name in os.environ}
        done = subprocess.run(
            [sys.executable, MACHINE, "--dev", self.folder / "dev", "--shm-mib", "1", "--temp", self.folder / "temp",
             "--temp-mib", "1", "--source", self.folder / "source", *arguments], capture_output=True, text=True,
            env={**environment, "LC_ALL": "C.UTF-8", **variables}, preexec_fn=lower)
        self.assertEqual(done.stdout, "")
        return done

    def assert_fit(self, done):
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def assert_faulty(self, done, *parts):
        """Exactly one fault, whose two lines say all the parts."""
        lines = done.stderr.splitlines()
        self.assertEqual((done.returncode, len(lines)), (1, 3), done.stderr)
        self.assertRegex(lines[0], "^machine: ")
        self.assertRegex(lines[1], "^ +fix: .")
        self.assertEqual(lines[2], "machine: 1 of the things that the tests take for granted is missing here")
        for part in parts:
            self.assertIn(part, done.stderr)

    def test_a_sound_machine_is_fit(self):
        self.assert_fit(self.look())

    def test_a_device_that_was_replaced_is_named(self):
        for name in DEVICES:
            device = self.folder / "dev" / name
            for text, replace in (("a regular file", device.touch), ("a folder", device.mkdir), ("a pipe", lambda: os.mkfifo(device)),
                                  ("another character device", lambda: device.symlink_to("/dev/full")),
                                  ("cannot be used: No such file", lambda: None)):
                with self.subTest(name, replaced=text):
                    device.unlink()
                    replace()
                    self.assert_faulty(self.look(), str(device), text, f"mknod -m 666 {device} c 1 ")
                    if device.is_dir():
                        device.rmdir()
                        device.touch()
                    device.unlink(missing_ok=True)
                    device.symlink_to(f"/dev/{name}")

    def test_folders_that_are_missing_or_full_are_named(self):
        self.assert_faulty(self.look("--shm-mib", str(1 << 40)), "dev/shm has", f"the tests need {1 << 40} MiB", "shm-size")
        self.assert_faulty(self.look("--temp-mib", str(1 << 40)), "temp has", "make room", "TMPDIR")
        (self.folder / "dev/shm").rmdir()
        self.assert_faulty(self.look(), "dev/shm cannot be written to: No such file")

    def test_a_tmpdir_that_is_none_is_not_passed_over(self):
        """Python would take another folder without a word, mpirun would not."""
        words = [sys.executable, MACHINE, "--dev", self.folder / "dev", "--source", self.folder / "source", "--shm-mib", "1"]
        done = subprocess.run(words, capture_output=True, text=True,
                              env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TMPDIR": str(self.folder / "none")})
        self.assert_faulty(done, f"{self.folder}/none cannot be written to")

    def test_an_address_that_is_not_up_is_named(self):
        self.assert_faulty(self.look("--address", "192.0.2.1"), "192.0.2.1", "ip link set lo up")

    def test_a_source_newer_than_the_clock_is_named_but_not_what_was_built(self):
        tomorrow = time.time() + 86400
        built = self.folder / "source/build/main.o"
        built.touch()
        os.utime(built, (tomorrow, tomorrow))
        self.assert_fit(self.look())
        os.utime(self.folder / "source/src/main.cpp", (tomorrow, tomorrow))
        self.assert_faulty(self.look(), "src/main.cpp", "the clock is 8", "timedatectl")

    def test_text_that_is_not_utf_8_is_named(self):
        self.assert_faulty(self.look(LC_ALL="C", PYTHONCOERCECLOCALE="0", PYTHONUTF8="0"), "text is ", "LC_ALL=C.UTF-8")

    def test_small_limits_are_named(self):
        for kind, text in ((resource.RLIMIT_NOFILE, "may have 255 open files"), (resource.RLIMIT_NPROC, "may have 255 processes")):
            with self.subTest(text):
                self.assert_faulty(self.look(limits=[(kind, 255)]), text, "ulimit -")

    def test_variables_that_the_programs_would_follow_are_named(self):
        for name in ("OMPI_MCA_btl", "PMIX_RANK", "PMI_SIZE", "SLURM_JOB_ID", "REDIS_URL", "NIGHTREEL_OUT", "LAUNCH_RANKS", "WORLD_SIZE"):
            with self.subTest(name):
                self.assert_faulty(self.look(**{name: "x"}), name, f"unset {name}")
        self.assert_fit(self.look(NIGHTREEL_CUDA="OFF", NIGHTREEL_SOURCE_DIR="/x", OMPI_ALLOW_RUN_AS_ROOT="1"))

    def test_all_faults_are_told_at_once(self):
        for name in DEVICES:
            (self.folder / "dev" / name).unlink()
        done = self.look("--temp-mib", str(1 << 40), REDIS_URL="redis://r")
        self.assertEqual(done.returncode, 1)
        self.assertIn("machine: 5 of the things", done.stderr)
        for part in ("dev/null", "dev/zero", "dev/urandom", "temp has", "REDIS_URL"):
            self.assertIn(part, done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
