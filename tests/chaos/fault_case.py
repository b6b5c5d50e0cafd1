"""What the tests of single faults share: `mpirun … nightreel run` with tests/rank's fake_renderer, whose jobs say in their
prompts what it shall do ("at=denoise:2 do=hang"), and traps at the points of fault_points.cpp.

Nothing here waits for time to pass: a job that failed is due again at once, and leases are long enough for any machine; one
that shall run out does so when a test says so.
"""
import hashlib
import json
import os
import subprocess
import sys

import redis

sys.path[:0] = [f"{os.environ['NIGHTREEL_SOURCE_DIR']}/tests/{folder}" for folder in ("e2e", "support")]
import program  # noqa: E402  (found by the line above)
from night import PREFIX, script_hashes  # noqa: E402
from program import BUILD, MPIRUN, NIGHTREEL, SHAPES  # noqa: E402
from redis_servers import DueAtOnce  # noqa: E402

LIMIT_S = 300  # of a run that does not hang


class FaultCase(program.ProgramTest):
    real_renderer = False
    queues = ("default",)
    decoded = {}  # frames by the sha256 of a video

    def setUp(self):
        super().setUp()
        self.traps = self.folder / "traps"
        self.traps.mkdir()
        self.url = self.redis()
        self.client = redis.Redis(unix_socket_path=self.url.removeprefix("unix://"), decode_responses=True, socket_timeout=60)
        DueAtOnce(self.url, *self.queues)
        self.program = NIGHTREEL if self.real_renderer else self.with_fake_renderer()

    def with_fake_renderer(self):
        copy = self.copy_of_nightreel()
        engine = copy.parent / "nightreel-engine"
        (self.folder / "fake").mkdir()
        engine.write_text(f"#!/bin/sh\nexec '{BUILD}/bin/fake_renderer' '{self.folder}/fake'\n")
        engine.chmod(0o755)
        return copy

    def trap(self, point, action):
        (self.traps / point).write_text(action)

    def untrap(self, point):
        (self.traps / point).unlink()

    def let_go(self, point):
        """Whom the trap `hold` holds there."""
        (self.traps / f"{point}.go").touch()

    def log(self):
        """[(process, point, action)] of the traps that went off, in order."""
        log = self.traps / "log"
        rows = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
        return [(int(process), point, action) for _, process, point, action in rows]

    def went_off(self, point, seconds=120):
        """The first process that came by, once one has."""
        rows = program.until(lambda: [row for row in self.log() if row[1] == point], seconds)
        self.assertTrue(rows, f"nobody came by {point}")
        return rows[0][0]

    def environment(self, **more):
        scripts = ",".join(f"{sha}={name}" for name, sha in script_hashes().items())
        return {"LD_PRELOAD": str(BUILD / "lib/libchaos_points.so"), "CHAOS_OUT": str(self.out),
                "CHAOS_TRAPS": str(self.traps), "CHAOS_SCRIPTS": scripts, **more}

    def command(self, jobs, *flags, ranks=2, redis=True, name="jobs.jsonl"):
        path = self.write_jobs(*jobs, name=name)
        return [*MPIRUN, "-np", ranks, self.program, "run", path, "--model", SHAPES, "--out", self.out, "--threads", 1,
                *(["--redis", self.url] if redis else []), *flags]

    def run_jobs(self, jobs, *flags, env=None, **how):
        return program.call(self.command(jobs, *flags, **how), env=self.environment(**(env or {})), timeout=LIMIT_S)

    def start_jobs(self, jobs, *flags, env=None, **how):
        process = program.start(self.command(jobs, *flags, **how), env=self.environment(**(env or {})))
        self.addCleanup(self.end, process)
        return process

    @staticmethod
    def finish(process):
        return program.finish(process, LIMIT_S)

    @staticmethod
    def end(process):
        if process.poll() is None:
            process.kill()
        process.communicate()

    def status(self, queue="default"):
        """{id: job} of the queue."""
        said = program.nightreel("status", "--json", "--all", "--redis", self.url, "--queue", queue)
        self.assertEqual(said.code, 0, said.said)
        return {job["id"]: job for job in json.loads(said.out)["jobs"]}

    def attempts(self, queue="default"):
        return {name: job["attempts"] for name, job in self.status(queue).items()}

    def begun(self, prefix=PREFIX):
        """Jobs of which the queue knows a step, once there is one."""
        return program.until(lambda: [name for name in self.client.zrange(prefix + "run", 0, -1)
                                      if int(self.client.hget(f"{prefix}job:{name}", "step") or 0) > 0], 120)

    def lease_end(self, name):
        """When the job's lease runs out, in ms of the server's clock; None where nobody holds it."""
        return self.client.zscore(PREFIX + "run", name)

    def end_lease(self, name):
        """As if its time were over. A holder that lives and looks is told at its next renewal."""
        self.assertEqual(self.client.zadd(PREFIX + "run", {name: 0}, xx=True, ch=True), 1, f"nobody holds {name}")

    def states(self):
        return {name: job["state"] for name, job in self.status().items()}

    def assert_whole(self, *names, exactly=True):
        """These videos, each with its set and what its sidecar says of it; `exactly`: and no other file, hidden or not."""
        sets = {f"videos/{name}{end}" for name in names for end in (".jpg", ".json", ".mp4")}
        sets |= {f"archive/{name}.h5" for name in names}
        there = {f"{folder}/{file}" for folder in ("videos", "archive") for file in os.listdir(self.out / folder)}
        self.assertEqual(sets - there, set())
        if exactly:
            self.assertEqual(there - sets, set())
        for name in names:
            video = self.out / f"videos/{name}.mp4"
            sidecar = json.loads((self.out / f"videos/{name}.json").read_text())
            sha = hashlib.sha256(video.read_bytes()).hexdigest()
            self.assertEqual(sha, sidecar["sha256"], name)
            self.assertEqual(self.frames_of(video, sha), sidecar["frames"], name)

    @classmethod
    def frames_of(cls, video, sha):
        """Of the same bytes it is asked once: the fake renderer's videos are all alike."""
        if sha not in cls.decoded:
            seen = subprocess.run(["ffprobe", "-v", "error", "-count_frames", "-show_entries", "stream=nb_read_frames",
                                   "-of", "csv=p=0", video], capture_output=True, text=True, check=True)
            cls.decoded[sha] = int(seen.stdout)
        return cls.decoded[sha]


def job(name, prompt="step_ms=5", **more):
    return program.small(name, prompt=prompt, **more)


main = program.main
