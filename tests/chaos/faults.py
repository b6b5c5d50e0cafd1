"""The faults of a chaos run: what there is, drawn by a seed, and done to whatever runs when its time has come."""
import os
import random
import signal
import time

import redis

from night import GROUP_SILENCE_S, LEASE_S, PREFIX, alive, connect, environment_of, now_ms, status_of

# Points of a job's life (fault_points.cpp) at which a process is killed or frozen.
RANK_POINTS = [
    *(f"rank.{when}.send.{script}" for when in ("before", "after")
      for script in ("claim", "renew", "begin_publish", "complete", "fail", "release", "inbox_turn")),
    *(f"rank.{when}.{name}" for when in ("before", "after")
      for name in ("rename.videos.json.part", "rename.archive.h5", "rename.videos.jpg", "link.videos.json",
                   "link.videos.mp4")),
    "rank.before.unlink.videos.mp4.part", "rank.before.unlink.checkpoints.h5"]
RENDERER_POINTS = [
    *(f"renderer.{when}.rename.{file}" for when in ("before", "after")
      for file in ("videos.mp4.part", "videos.jpg.part", "archive.h5.part", "checkpoints.h5")),
    "renderer.before.fsync.videos.mp4.part", "renderer.before.fsync.checkpoints.h5.part"]
STORAGE_POINTS = [
    "rank.before.open.videos.json.part", "rank.before.write.videos.json.part", "rank.before.fsync.videos.json.part",
    "rank.before.rename.videos.json.part", "rank.before.rename.archive.h5",
    "rank.before.rename.videos.jpg", "rank.before.link.videos.json", "rank.before.link.videos.mp4",
    "rank.before.unlink.videos.mp4.part", "rank.before.unlink.checkpoints.h5",
    *(f"renderer.before.{name}" for name in (
        "open.videos.mp4.part", "write.archive.h5.part", "fsync.videos.mp4.part", "rename.videos.mp4.part", "rename.archive.h5.part", "fsync.checkpoints.h5.part",
        "rename.checkpoints.h5"))]

# Where a holder that sleeps past its lease could still do harm.
TELLING = ["rank.before.send.begin_publish", "rank.before.send.complete", "rank.before.link.videos.json",
           "rank.before.link.videos.mp4"]

# Sent and done, the reply lost: the rank must ask again, and hear the same.
REPLY_POINTS = [point for point in RANK_POINTS if point.startswith("rank.before.send.")]

WEIGHTS = {"renderer_kill": 14, "renderer_stop": 6, "rank_kill": 7, "rank_stop": 8, "rank_term": 3, "usr1_twice": 3,
           "usr1_once": 2, "mpirun_kill": 2, "redis_kill": 6, "redis_stop": 3, "client_kill": 8, "script_flush": 5,
           "client_pause": 6, "rank_killed_at": 9, "rank_stopped_at": 8, "rank_stale_at": 12, "renderer_killed_at": 8, "storage_error": 9,
           "reply_lost": 14}
GROUP_WEIGHTS = {**WEIGHTS, "rank_stop_long": 12}
LULLS = 0.5  # of the traps that go off: nothing else happens until what came of it can be told from all else
PAUSE_S, GROUP_PAUSE_S = 0.2, 0.6  # between two faults, on average: a group that was hit takes longer to stand again
# What ends a run would end the long sleep of one of its ranks, and so would the end of a shorter one.
NOT_WHILE_ASLEEP = {"rank_stop_long", "rank_stop", "rank_stopped_at", "rank_stale_at", "rank_kill", "rank_term", "usr1_once", "usr1_twice",
                    "mpirun_kill", "rank_killed_at"}
PAST_LEASE_S = LEASE_S + 1.5
PAST_GROUP_S = GROUP_SILENCE_S + 3
GROUP_LATE_S = 2  # after a rank wakes: what it hears of its group then, it makes its jobs suffer


def about_a_lease(share):
    """Who sleeps so long wakes before the lease has ended, while the next holder works, or when that one is done."""
    return PAST_LEASE_S - 2.3 * share


def draw(seed, count, groups=False):
    """The seed's endless-enough list of faults: each with its kind, its parameters and the pause before it."""
    dice = random.Random(seed)
    weights = GROUP_WEIGHTS if groups else WEIGHTS
    kinds = dice.choices(list(weights), list(weights.values()), k=count)
    pause_s = GROUP_PAUSE_S if groups else PAUSE_S
    return [{"kind": kind, "pause": dice.expovariate(1 / pause_s), "pick": dice.random(), "length": dice.random(),
             "lull": dice.random() < LULLS,
             "point": dice.choice({"rank_killed_at": RANK_POINTS, "rank_stopped_at": RANK_POINTS, "rank_stale_at": TELLING,
                                   "renderer_killed_at": RENDERER_POINTS,
                                   "reply_lost": REPLY_POINTS}.get(kind, STORAGE_POINTS)),
             "error": dice.choice(["eio", "enospc", "erofs", "did-eio"]), "idle_too": dice.random() < 0.1} for kind in kinds]


def every_point():
    """One kill and one freeze at each point of a job's life, one after the other."""
    kinds = {"rank_killed_at": RANK_POINTS, "rank_stopped_at": RANK_POINTS, "renderer_killed_at": RENDERER_POINTS}
    return [{"kind": kind, "pause": 0.5, "point": point, "idle_too": False, "lull": False}
            for kind, points in kinds.items() for point in points]


class Injector:
    """Does the faults, undoes what must be undone (frozen processes, a dead Redis), and keeps a record of each.

    A record says whom it could cost an attempt: `ranks` is a set of rank numbers or "all", from `ms` to `until_ms`. What
    hits one of a group hits all of it.
    """

    TRAP_S = 4  # a trap that nobody has come by until then is taken away

    def __init__(self, night, faults, one_at_a_time=False):
        self.one_at_a_time = one_at_a_time
        self.night, self.faults, self.records = night, list(faults), []
        self.later, self.armed = [], {}
        self.next_at, self.log_read = 0.0, 0
        self.missed = 0
        self.told_to_finish = None  # the mpirun that has had a USR1
        self.redis_down = None  # the record of a kill, until the server is back
        self.asleep_until = 0.0  # a rank, for so long that its group must do without it

    def record(self, kind, ranks, length=0.0, detail=""):
        at = now_ms()
        if ranks != "all":
            ranks = set().union(*(self.night.group_of(rank) for rank in ranks))
        self.records.append({"kind": kind, "ranks": ranks, "ms": at, "until_ms": at + int(1000 * length),
                             "detail": detail, "ends_run": ranks == "all" and kind != "redis_stop"})

    def run_ended(self):
        """What ends a run hits its ranks until the last one is gone: those of a launcher that was killed go on claiming
        for about a second, beside the next run."""
        enders = [record for record in self.records if record["ends_run"]]
        for record in enders:
            record["ends_run"] = False
        self.until_gone(enders, [pid for pid, (_, role) in self.night.processes().items() if role == "rank"])

    def until_gone(self, enders, ranks):
        for record in enders:
            record["until_ms"] = max(record["until_ms"], now_ms())
        ranks = [pid for pid in ranks if alive(pid)]
        if ranks:
            self.after(0.05, lambda: self.until_gone(enders, ranks))

    def after(self, seconds, undo):
        self.later.append((time.monotonic() + seconds, undo))

    def tick(self, undo_all=False):
        now = time.monotonic()
        due = [entry for entry in self.later if undo_all or entry[0] <= now]
        self.later = [entry for entry in self.later if entry not in due]
        for _, undo in due:
            undo()
        self.look_at_traps(now, undo_all)

    # ---- traps ------------------------------------------------------------------------------------------------------

    def arm(self, kind, point, action, lull=False):
        trap = self.night.traps / point
        if trap.exists():
            return False
        new = self.night.traps / f".{point}"
        new.write_text(action)
        os.rename(new, trap)
        self.armed[point] = (kind, time.monotonic() + self.TRAP_S, lull)
        return True

    def look_at_traps(self, now, all_away):
        for point, (_, until, _) in list(self.armed.items()):
            if now > until or all_away:
                try:
                    os.unlink(self.night.traps / point)
                    del self.armed[point]
                    self.missed += 1
                except FileNotFoundError:
                    pass  # it has just gone off
        log = self.night.traps / "log"
        if not log.exists():
            return
        with open(log, encoding="utf-8") as file:
            file.seek(self.log_read)
            lines = file.readlines()
            self.log_read = file.tell()
        for line in lines:
            self.went_off(*line.split())

    def went_off(self, ms, pid, point, action):
        kind, _, lull = self.armed.pop(point, ("trap", 0, False))
        rank, pid = self.rank_of(int(pid)), int(pid)
        ranks = "all" if action == "kill" and point.startswith("rank") or rank is None else {rank}
        if action == "cut":
            ranks = set()
        self.record(kind, ranks, 0, f"{point} {action}")
        self.records[-1]["ms"] = int(ms)
        if action == "stop":
            share = int(ms) % 100 / 100
            length = LEASE_S + 0.3 + 1.2 * share if kind == "rank_stale_at" else about_a_lease(share)
            self.records[-1]["until_ms"] = int(ms) + int(1000 * length)
            self.after(length, lambda: self.signal(pid, signal.SIGCONT))
        if lull:
            self.next_at = time.monotonic() + PAST_LEASE_S + LEASE_S / 2

    @staticmethod
    def rank_of(pid):
        for one in (pid, status_of(pid)[0]):
            rank = environment_of(one).get("OMPI_COMM_WORLD_RANK")
            if rank is not None:
                return int(rank)
        return None

    # ---- what is done -----------------------------------------------------------------------------------------------

    @staticmethod
    def signal(pid, number):
        try:
            os.kill(pid, number)
            return True
        except OSError:
            return False

    def one_of(self, role, pick):
        there = sorted((rank, pid) for pid, (rank, what) in self.night.processes().items()
                       if what == role and rank is not None)
        return there[int(pick * len(there))] if there else None

    def step(self):
        """The next fault, if its time has come. A fault that finds nobody to hit does not count."""
        now = time.monotonic()
        if not self.faults or now < self.next_at:
            return
        fault = self.faults[0]
        if not fault["idle_too"] and not self.busy():
            return
        if self.one_at_a_time and (self.armed or self.later):
            return
        self.faults.pop(0)
        if now < self.asleep_until and fault["kind"] in NOT_WHILE_ASLEEP:
            return
        self.next_at = now + fault["pause"]
        getattr(self, fault["kind"])(fault)

    def busy(self):
        try:
            return self.night.server.client.zcard(PREFIX + "run") > 0
        except redis.RedisError:
            return False

    def to_process(self, kind, role, fault, number, ranks=None, length=0.0):
        target = self.one_of(role, fault["pick"])
        if target and self.signal(target[1], number):
            self.record(kind, ranks or {target[0]}, length, f"{role} {target[0]}, process {target[1]}")
            return target[1]
        return None

    def renderer_kill(self, fault):
        self.to_process("renderer_kill", "renderer", fault, signal.SIGKILL)

    def rank_kill(self, fault):
        self.to_process("rank_kill", "rank", fault, signal.SIGKILL, "all")

    def rank_term(self, fault):
        self.to_process("rank_term", "rank", fault, signal.SIGTERM, "all")

    def freeze(self, kind, role, fault, length):
        pid = self.to_process(kind, role, fault, signal.SIGSTOP, None, length)
        if pid:
            self.after(length, lambda: self.signal(pid, signal.SIGCONT))
        return pid

    def rank_stop(self, fault):
        self.freeze("rank_stop", "rank", fault, about_a_lease(fault["length"]))

    def rank_stop_long(self, fault):
        """Until its group has given it up."""
        if self.freeze("rank_stop_long", "rank", fault, PAST_GROUP_S):
            self.records[-1]["until_ms"] += int(1000 * GROUP_LATE_S)
            self.asleep_until = time.monotonic() + PAST_GROUP_S + GROUP_LATE_S

    def renderer_stop(self, fault):
        self.freeze("renderer_stop", "renderer", fault, 2 * fault["length"])

    def mpirun(self, kind, ranks, *numbers):
        process = self.night.process
        if process is None:
            return
        self.record(kind, ranks)
        for number in numbers:
            self.signal(process.pid, number)
            time.sleep(0.05)

    def mpirun_kill(self, _):
        self.mpirun("mpirun_kill", "all", signal.SIGKILL)

    def usr1_once(self, _):
        """Costs nobody anything, unless this run has had one: then the leases go back."""
        again = self.night.process is not None and self.night.process is self.told_to_finish
        self.told_to_finish = self.night.process
        self.mpirun("usr1_once", "all" if again else set(), signal.SIGUSR1)

    def usr1_twice(self, _):
        self.mpirun("usr1_twice", "all", signal.SIGUSR1, signal.SIGUSR1)

    def redis_kill(self, fault):
        """Away for less than half a lease, which may cost nobody anything; more where a busy machine starts it slowly."""
        if self.redis_down:
            return
        self.record("redis_kill", set(), fault["length"])
        self.redis_down = self.records[-1]
        self.night.server.kill()
        self.after(fault["length"], self.redis_up)

    def redis_up(self):
        down, self.redis_down = self.redis_down, None
        self.night.server.start()
        self.night.server.wait()
        down["until_ms"] = now_ms()
        if down["until_ms"] - down["ms"] > 1000 * LEASE_S / 2:
            down["ranks"] = "all"

    def redis_stop(self, _):
        """Stalled past the lease: whoever asks after it may find all leases gone."""
        pid = self.night.server.process.pid
        if self.signal(pid, signal.SIGSTOP):
            self.record("redis_stop", "all", PAST_LEASE_S)
            self.after(PAST_LEASE_S, lambda: self.signal(pid, signal.SIGCONT))

    def to_redis(self, kind, length, *command):
        client = connect(self.night.server.socket)
        try:
            client.execute_command(*command)
            self.record(kind, set(), length)
        except redis.RedisError:
            pass  # it is away
        finally:
            client.close()

    def client_kill(self, _):
        self.to_redis("client_kill", 0, "CLIENT", "KILL", "TYPE", "normal")

    def script_flush(self, _):
        self.to_redis("script_flush", 0, "SCRIPT", "FLUSH")

    def client_pause(self, fault):
        self.to_redis("client_pause", fault["length"], "CLIENT", "PAUSE", int(1000 * fault["length"]))

    def lead_to(self, point):
        """A trap by itself waits for other faults where a night without any does not come by."""
        if not self.one_at_a_time:
            return
        if point.endswith(".fail"):
            self.arm("storage_error", "rank.before.rename.archive.h5", "eio")
        if point.endswith(".release"):
            self.usr1_twice(None)

    def rank_killed_at(self, fault):
        self.arm("rank_killed_at", fault["point"], "kill")
        self.lead_to(fault["point"])

    def rank_stopped_at(self, fault):
        self.arm("rank_stopped_at", fault["point"], "stop", fault["lull"])
        self.lead_to(fault["point"])

    def rank_stale_at(self, fault):
        """Its job is another's when it wakes, and nothing else tells the two apart."""
        self.arm("rank_stale_at", fault["point"], "stop", lull=True)

    def renderer_killed_at(self, fault):
        self.arm("renderer_killed_at", fault["point"], "kill")

    def reply_lost(self, fault):
        """Costs nobody anything: what was done is told again."""
        self.arm("reply_lost", fault["point"], "cut", fault["lull"])

    def storage_error(self, fault):
        self.arm("storage_error", fault["point"], fault["error"])
