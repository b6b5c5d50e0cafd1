"""Faults of the world around a run, for truth.py: records that vanish from Redis, another writer in OUT, a private Redis
that is killed, a reader of the log that ends, an inbox that is flooded.

Each says what it has done in its own list besides: the checks ask which files somebody else has touched, and when.
"""
import hashlib
import os
import random
import signal
import time

import redis

import faults
from night import PREFIX, now_ms

KINDS = {"vanish": {"flush": 3, "forget": 5, "evict": 4}, "writer": {"video_gone": 6, "video_changed": 6},
         "private": {"private_killed": 10}, "pipe": {"reader_gone": 5}, "flood": {"flood": 5}}
PAUSE_S = 0.6  # between two faults, on average: some runs are to come to their end
FLOOD = 2000  # entries, half of them equal
LONG_AGO_MS = 120_000  # so old a record must be for its video to count as gone
# What speaks to a Redis that is the test's own.
NOT_WHEN_PRIVATE = {"redis_kill", "redis_stop", "client_kill", "script_flush", "client_pause"}


def draw(seed, count, also, groups=False, private=False):
    """As faults.draw, with the kinds of `also` among them: about half of all."""
    dice = random.Random(seed * 1000 + 1)
    weights = {kind: weight for one in also for kind, weight in KINDS[one].items()}
    plain = [one for one in faults.draw(seed, 2 * count, groups) if not private or one["kind"] not in NOT_WHEN_PRIVATE]
    ours = [{"kind": kind, "pick": dice.random(), "length": dice.random(),
             "idle_too": dice.random() < 0.2} for kind in dice.choices(list(weights), list(weights.values()), k=count)]
    return [{**dice.choice((ours, plain)).pop(), "pause": dice.expovariate(1 / PAUSE_S)} for _ in range(count)]


def garbage(flood):
    """Entries that are no jobs; half of them are equal."""
    return [f"garbage {flood}" if number % 2 else f"garbage {flood} {number}" for number in range(FLOOD)]


def reject_id(entry):
    return "inbox-" + hashlib.sha256(entry.encode()).hexdigest()[:16]


class WorldInjector(faults.Injector):
    def __init__(self, night, drawn, jobs, expected):
        super().__init__(night, drawn)
        self.jobs, self.expected = jobs, expected  # ids; sha256 of a job's video
        self.vanished_ms = []
        self.touched = {}  # job -> [(ms, sha256 of what the writer left there, or None where it left nothing)]
        self.floods, self.pipes_cut = [], 0

    def busy(self):
        if self.night.private:
            return self.night.process is not None and time.monotonic() - self.night.started > 1
        return super().busy()

    # ---- records that vanish ----------------------------------------------------------------------------------------

    def in_redis(self, kind, work):
        try:
            what = work(self.night.server.client)
        except (redis.RedisError, OSError, ValueError):
            return  # it is away
        if what:
            self.record(kind, set(), 0, str(what))
            self.vanished_ms.append(now_ms())

    def flush(self, _):
        self.in_redis("flush", lambda client: client.flushall() and "everything")

    def forget(self, fault):
        def work(client):
            job = self.pick(fault, self.jobs())
            return client.delete(f"{PREFIX}job:{job}") and job
        self.in_redis("forget", work)

    def evict(self, _):
        """As a server with allkeys-random does: any key, whole."""
        def work(client):
            key = client.randomkey()
            return key and client.delete(key) and key
        self.in_redis("evict", work)

    # ---- another writer in OUT --------------------------------------------------------------------------------------

    @staticmethod
    def pick(fault, things):
        things = sorted(things)
        return things[int(fault["pick"] * len(things))] if things else None

    def untouched(self):
        """Jobs whose video stands as it was published: what somebody else changed was noticed, or not yet done."""
        found = []
        for file in (self.night.out / "videos").glob("[!.]*.mp4"):
            try:
                sound = hashlib.sha256(file.read_bytes()).hexdigest() == self.expected(file.stem)
            except OSError:
                continue
            if sound:
                found.append(file.stem)
        return found

    def backdate(self, job):
        """A video that is missing a moment after it was done may still come (NFS): this one was done long ago."""
        client = self.night.server.client
        key = f"{PREFIX}job:{job}"
        if client.hget(key, "state") != "done":
            return False
        return client.hset(key, "ended_ms", now_ms() - LONG_AGO_MS) is not None

    def touch(self, kind, fault, change):
        job = self.pick(fault, self.untouched())
        if job is None:
            return
        try:
            if not self.backdate(job):
                return
            left = change(self.night.out / f"videos/{job}.mp4")
        except (redis.RedisError, OSError, ValueError):
            return
        self.touched.setdefault(job, []).append((now_ms(), left))
        self.record(kind, set(), 0, job)

    def video_gone(self, fault):
        self.touch("video_gone", fault, os.unlink)

    def video_changed(self, fault):
        def change(path):
            content = path.read_bytes()[:int(100 + 400 * fault["length"])] + os.urandom(8)
            other = path.with_name(f".{path.name}.other")
            other.write_bytes(content)
            os.rename(other, path)
            return hashlib.sha256(content).hexdigest()
        self.touch("video_changed", fault, change)

    # ---- processes and pipes ----------------------------------------------------------------------------------------

    def private_killed(self, _):
        """Nothing is lost by it, and every lease gets a full term: it costs nobody anything."""
        pid = self.night.server.pid() if self.night.private else None
        if pid and self.signal(pid, signal.SIGKILL):
            self.record("private_killed", set(), 0, f"process {pid}")

    def reader_gone(self, _):
        """mpirun does not survive it, its ranks end as after mpirun's death; a rank without mpirun goes on."""
        if self.night.cut_pipe():
            self.pipes_cut += 1
            self.record("reader_gone", "all" if self.night.ranks > 1 else set())

    def flood(self, _):
        try:
            self.night.server.client.rpush(PREFIX + "inbox", *garbage(len(self.floods)))
        except (redis.RedisError, OSError, ValueError):
            return
        self.floods.append(now_ms())
        self.record("flood", set(), 0, f"{FLOOD} entries")
