"""What the whole-program tests share: starting nightreel, alone or under mpirun, in a folder that goes afterwards.

The tests are run by ctest as `python NAME_test.py FOLDER`, FOLDER the build's, with NIGHTREEL_SOURCE_DIR set.
"""
import atexit
import functools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

SOURCE = pathlib.Path(os.environ["NIGHTREEL_SOURCE_DIR"])
BUILD = pathlib.Path(sys.argv.pop())
NIGHTREEL = BUILD / "bin/nightreel"
SHAPES = SOURCE / "models/shapes"
MPIRUN = ["mpirun", "--oversubscribe", "--bind-to", "none", *(["--allow-run-as-root"] if os.geteuid() == 0 else [])]


def without_redis(**more):
    """The environment without what would name a Redis or settings: tests must not touch a server of the user's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("REDIS_", "NIGHTREEL_"))}
    return {**kept, "NIGHTREEL_RENDERER_ENV": "CHAOS_*,STAND_IN_*,HELD_*,PYTHON*", **more}  # what the tests' own engines read


class Ended:
    """A command that has ended: code, out, log (stderr), and log's own lines, those that nightreel wrote itself."""

    def __init__(self, code, out, log):
        self.code, self.out, self.log = code, out, log

    @property
    def errors(self):
        """The distinct lines of `nightreel: …`: under mpirun every rank may say the same."""
        return sorted({line for line in self.log.splitlines() if line.startswith("nightreel: ")})

    @property
    def said(self):
        return f"exit code {self.code}\n{self.out}\n{self.log}"


def call(command, timeout=120, env=None, stdin=None, cwd=None):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, errors="replace",
                          timeout=timeout, env=without_redis(**(env or {})), input=stdin, cwd=cwd)
    return Ended(done.returncode, done.stdout, done.stderr)


def nightreel(*arguments, **how):
    return call([NIGHTREEL, *arguments], **how)


def mpirun(ranks, *arguments, program=NIGHTREEL, **how):
    return call([*MPIRUN, "-np", ranks, program, *arguments], **how)


class EngineCommands:
    """nightreel-engine's command lines, each in a fork of one process that has loaded LibTorch (engine_commands.cpp)."""

    def __init__(self):
        self._lock = threading.Lock()
        self._folder = tempfile.TemporaryDirectory(prefix="nightreel-e2e-")
        # As nightreel starts the engine: libgomp reads the variable when it is mapped.
        self._process = subprocess.Popen([BUILD / "bin/engine_commands"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         text=True, env=without_redis(GOMP_SPINCOUNT="1000"))

    def __call__(self, *arguments, timeout=120, env=None, stdin=None, cwd=None, stdout=None):
        """`stdout`: a device to print to, of which nothing comes back."""
        files = {name: pathlib.Path(self._folder.name) / name for name in ("stdin", "stdout", "stderr")}
        files["stdout"].unlink(missing_ok=True)
        files["stdout"] = pathlib.Path(stdout) if stdout else files["stdout"]
        with self._lock:
            files["stdin"].write_text(stdin or "")
            request = {"arguments": [str(word) for word in arguments], "environment": without_redis(**(env or {})),
                       "folder": str(cwd or os.getcwd()), **{name: str(file) for name, file in files.items()}}
            too_late = threading.Timer(timeout, self._process.kill)
            too_late.start()
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            code = self._process.stdout.readline()
            too_late.cancel()
            said = [files[name].read_text(errors="replace") if files[name].is_file() else "" for name in ("stdout", "stderr")]
        if not code:
            raise AssertionError(f"{arguments}: engine_commands ended, or no answer within {timeout} s\n{said}")
        return Ended(int(code), *said)

    def stop(self):
        self._process.kill()
        self._process.communicate()
        self._folder.cleanup()


@functools.lru_cache(None)
def _engine_commands():
    commands = EngineCommands()
    atexit.register(commands.stop)
    return commands


def engine(*arguments, **how):
    """What `nightreel` ends with for a command of the engine's, without the second that each start of it costs."""
    return _engine_commands()(*arguments, **how)


def start(command, env=None):
    """Runs on beside the test; end it with `stop`."""
    return subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            errors="replace", env=without_redis(**(env or {})))


def finish(process, timeout=120):
    out, log = process.communicate(timeout=timeout)
    return Ended(process.returncode, out, log)


def stop_at_once(process):
    """The second USR1 stops what the first one lets end. Two that come at once are one: they go on until it has ended."""
    while process.poll() is None:
        process.send_signal(signal.SIGUSR1)
        time.sleep(0.3)


def until(condition, seconds=30):
    """The first true value of condition(), or the last false one when the time is over."""
    end = time.monotonic() + seconds
    value = condition()
    while not value and time.monotonic() < end:
        time.sleep(0.05)
        value = condition()
    return value


class RedisServer:
    """A redis-server of the test's own, on a Unix socket."""

    def __init__(self, folder):
        self.url = f"unix://{folder}/redis.sock"
        self._process = subprocess.Popen(["redis-server", "--port", "0", "--unixsocket", f"{folder}/redis.sock", "--dir",
                                          folder, "--save", "", "--maxmemory-policy", "noeviction"],
                                         stdout=subprocess.DEVNULL)
        if not until((pathlib.Path(folder) / "redis.sock").exists, 60):
            raise AssertionError(f"no redis-server in {folder}")

    def stop(self):
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()


class ProgramTest(unittest.TestCase):
    """One folder for each test, and the assertions that many of them need."""

    def setUp(self):
        folder = tempfile.mkdtemp(prefix="nightreel-e2e-")
        self.addCleanup(shutil.rmtree, folder)
        self.folder = pathlib.Path(folder)
        self.out = self.folder / "out"

    def redis(self):
        server = RedisServer(str(self.folder))
        self.addCleanup(server.stop)
        return server.url

    def with_stand_in_engine(self):
        """A copy of nightreel whose ranks start stand_in_engine.py."""
        copy = self.copy_of_nightreel()
        shutil.copy2(SOURCE / "tests/e2e/stand_in_engine.py", copy.parent / "nightreel-engine")
        return copy

    def with_fake_renderer(self):
        """A copy of nightreel whose ranks start tests/rank's fake_renderer, over the folder `fake`: it draws grey at once,
        and a prompt says what else it shall do."""
        copy = self.copy_of_nightreel()
        engine = copy.parent / "nightreel-engine"
        (self.folder / "fake").mkdir()
        engine.write_text(f"#!/bin/sh\nexec '{BUILD}/bin/fake_renderer' '{self.folder}/fake'\n")
        engine.chmod(0o755)
        return copy

    def copy_of_nightreel(self):
        """nightreel in a folder of its own, where another engine can stand beside it."""
        copy = self.folder / "bin/nightreel"
        copy.parent.mkdir()
        try:
            os.link(NIGHTREEL, copy)
        except OSError:  # another file system
            shutil.copy2(NIGHTREEL, copy)
        return copy

    def write_jobs(self, *jobs, name="jobs.jsonl"):
        path = self.folder / name
        path.write_text("".join(json.dumps(job) + "\n" for job in jobs))
        return path

    def run_json(self, out=None):
        """The newest run's summary."""
        files = sorted((out or self.out).glob("runs/*.json"), key=lambda file: file.stat().st_mtime_ns)
        self.assertTrue(files, "no runs/RUN.json")
        return json.loads(files[-1].read_text())

    def stopped_json(self):
        """The summary of a run that was told to stop at once; none where its ranks had to end by force, a second after
        that, as on a machine that is busy enough: nothing is written then."""
        return self.run_json() if [*self.out.glob("runs/*.json")] else None

    def assert_refused(self, ended, code, *parts):
        """The code, and one line that says all the parts."""
        self.assertEqual(ended.code, code, ended.said)
        self.assertEqual(len(ended.errors), 1, ended.said)
        for part in parts:
            self.assertIn(part, ended.errors[0])
        self.assertNotIn("Traceback", ended.log)

    def assert_ended(self, ended, code):
        self.assertEqual(ended.code, code, ended.said)


def small(name, steps=2, **more):
    """A job that takes a fraction of a second."""
    return {"id": name, "prompt": "a red circle moves right on a black background", "num_inference_steps": steps,
            "num_frames": 5, "height": 16, "width": 16, "seed": 1, **more}


# Of a job that is cancelled or stopped: no machine comes to its end while a test looks on.
ENDLESS = {"num_inference_steps": 1000, "height": 128, "width": 128, "num_frames": 33}


def main():
    unittest.main(verbosity=2)
