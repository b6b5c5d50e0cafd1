"""What the tests of the launch scripts share: the scripts' environment, and what a stopped run must leave behind."""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

sys.path[:0] = [f"{os.environ['NIGHTREEL_SOURCE_DIR']}/tests/{folder}" for folder in ("e2e", "support")]
import program  # noqa: E402  (found by the line above)
import side_by_side  # noqa: E402,F401
from program import NIGHTREEL, SHAPES, SOURCE, small  # noqa: E402,F401

SCRIPTS = SOURCE / "scripts"
# More than a second a video, so that a signal finds it half done; the quick engine makes a file of those it has begun.
LONG = {"steps": 50, "prompt": "step_ms=30 encode_ms=0 at=denoise:0 do=nothing"}
# Binds each rank to one core unless mpirun is told otherwise, as its own default does below three ranks.
BINDS = {"OMPI_MCA_hwloc_base_binding_policy": "core"}
PATIENCE = 240  # seconds that only what hangs takes
MADE = ["first", "long-a", "long-b", "long-c", "long-d", "long-e", "long-f", "last"]


def until(condition, seconds=PATIENCE):
    """Its verdict is for the caller to assert."""
    return program.until(condition, seconds)


def finish(process):
    return program.finish(process, PATIENCE)


class LaunchTest(program.ProgramTest):
    """Ranks, MPI and Redis are the real ones; the renderers are quick_engine.sh's, unless a test says `with_the_model`."""
    real = False
    queue = ()  # the words that name it; empty: that of OUT

    def setUp(self):
        super().setUp()
        self.script("nightreel-engine", f"exec '{SOURCE}/tests/launch/quick_engine.sh' "
                    f"'{NIGHTREEL.resolve().parent}/fake_renderer' '{self.folder}/quick'", folder="quick")
        self._quick = self.folder / "quick/nightreel"
        try:
            os.link(NIGHTREEL, self._quick)
        except OSError:  # another file system
            shutil.copy2(NIGHTREEL, self._quick)

    def with_the_model(self):
        self.real = True

    def small(self, name, **more):
        """A job that ends at once."""
        return small(name, **more) if self.real else small(name, **{"prompt": "step_ms=0 encode_ms=0", **more})

    def long(self, name):
        return self.small(name, **LONG)

    def environment(self, **more):
        """What a user sets."""
        return {"LAUNCH_PROGRAM": str(NIGHTREEL.resolve() if self.real else self._quick),
                "NIGHTREEL_MODEL": str(SHAPES), "NIGHTREEL_OUT": str(self.out), "NIGHTREEL_DEVICE": "cpu",
                "NIGHTREEL_THREADS": "1", **more}

    def caught(self, name):
        """A job whose renderer stands still in its first step the first time, so that a signal surely finds it in hand."""
        return self.small(name, prompt="step_ms=0 encode_ms=0 at=denoise:1 times=1 do=hang")

    def wait_for_caught(self, count):
        """Until so many of them have been caught. Which ones is nobody's to say: a rank holds the next one already while
        one is in hand. So for every rank that shall be caught there are two of them to choose from, less the last one."""
        self.assertTrue(until(lambda: len(self.begun()) >= count),
                        f"fewer than {count} were begun\n{self.logs()}")

    def begun(self):
        """The quick engine's jobs that were caught, or are long, and were begun."""
        return {file.stem for file in (self.folder / "quick").glob("*.1")}

    def logs(self):
        """What jobs have written so far, where they write into the test's folder."""
        return "".join(file.read_text(errors="replace") for file in sorted(self.folder.glob("*.log")))

    def let_go(self, names):
        """Those that were not caught will not be."""
        for name in names:
            (self.folder / f"quick/{name}.1").touch()

    def spy(self):
        """A program in nightreel's place that writes down which CPUs it may use, a line a rank, into the file `cpus`."""
        self.out.mkdir(exist_ok=True)
        return self.script("spy", f"grep ^Cpus_allowed_list: /proc/self/status >>{self.out}/cpus")

    def assert_bound_to_nothing(self, ranks):
        """As many ranks as asked for, and each may use every CPU that this test may use."""
        (own,) = re.findall(r"^Cpus_allowed_list:.*\n", pathlib.Path("/proc/self/status").read_text(), re.MULTILINE)
        seen = self.out / "cpus"
        self.assertEqual(seen.read_text(), own * ranks)
        seen.unlink()

    def script(self, name, *lines, folder="tools"):
        """An executable of the test's own."""
        path = self.folder / folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(("#!/bin/sh", *lines)) + "\n")
        path.chmod(0o755)
        return path

    def start(self, *command, **more):
        """In a process group of its own, as a terminal or a service manager has it; ended by itself or killed."""
        process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   text=True, errors="replace", env=program.without_redis(**self.environment(**more)),
                                   start_new_session=True, cwd=self.folder)
        self.addCleanup(self.end, process)
        return process

    def end(self, process):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()

    def ranks(self):
        """The processes of this test's nightreel."""
        found = []
        for exe in pathlib.Path("/proc").glob("[0-9]*/exe"):
            try:
                if exe.readlink() == self._quick:
                    found.append(int(exe.parent.name))
            except OSError:  # ended meanwhile, or a kernel thread
                pass
        return found

    def call(self, *command, **more):
        return finish(self.start(*command, **more))

    def summaries(self, out=None):
        files = sorted((out or self.out).glob("runs/*.json"))
        return [json.loads(file.read_text()) for file in files]

    def videos(self, out=None):
        return sorted(file.stem for file in (out or self.out).glob("videos/*.mp4"))

    def jobs(self):
        """MADE: a first one that ends at once, and then enough that a signal finds some in hand and some left."""
        return self.write_jobs(self.small("first"), *map(self.long, MADE[1:-1]), self.small("last"))

    def wait_for_first(self, process):
        first = self.out / "videos/first.mp4"
        self.assertTrue(until(lambda: first.exists() or process.poll() is not None), "no video was made")
        if not first.exists():
            self.fail(finish(process).said)

    def ask_status(self):
        return program.nightreel("status", "--json", "--all", *(self.queue or ("--out", self.out)))

    def assert_each_once(self, names=tuple(MADE)):
        """Every video is there; what was stopped used up no attempt, and nothing was made twice."""
        self.assertEqual(self.videos(), sorted(names))
        ended = self.ask_status()
        self.assert_ended(ended, 0)
        jobs = {job["id"]: (job["state"], job["attempts"]) for job in json.loads(ended.out)["jobs"]}
        self.assertEqual(jobs, {name: ("done", 1) for name in names})
