"""Runs `mpirun … nightreel run` over and over on one queue while faults hit it, then checks what came out.

    scripts/chaos --faults N --seed S [--ranks 4] [--ranks-per-video 1] [--renderer stub|shapes]
                  [--also vanish,writer,private,pipe,flood] [--build build/release] [--keep FOLDER]
    scripts/chaos --planted NAME|all|list

Exit code 0: every promise held. 1: violations, each on a line; the folder is kept. The seed fixes the faults, their
order, pauses and points; what each one hits depends on the machine's timing besides.
"""
import argparse
import collections
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

import redis

import checks
import faults
import stub_engine
from night import FRAMES, PREFIX, SIZE, SOURCE, Events, Night, Watcher, now_ms

NO_PROGRESS_S = 120
SETTLED_S = 30  # after the last fault: what is claimed then fails for no fault
BREATHE_S = 15  # without progress, after which no fault comes until there is some: a slow machine starts slowly
COLOURS, SHAPES = ("red", "green", "blue", "white"), ("circle", "square", "cross")
WAYS = ("left", "right", "up", "down")
CRASH = re.compile(r"signal (?:6|7|8|11)\b|terminate called|AddressSanitizer|exit code 4\b")
GIVEN_UP = "its redis-server died 3 times within a minute"  # a run says so and ends with 4, as it should


def job(number, steps):
    prompt = (f"a {COLOURS[number % 4]} {SHAPES[number // 4 % 3]} moves {WAYS[number // 12 % 4]} on a black background")
    return {"id": f"job-{number:05}", "prompt": prompt, "seed": number, "num_inference_steps": steps,
            "num_frames": FRAMES, "height": SIZE, "width": SIZE}


class Chaos:
    def __init__(self, options, folder):
        self.options = options
        self.steps = 6 if options.renderer == "stub" else 8
        self.set_up(folder)
        self.violations, self.quiet_code = [], None
        self.changed, self.last_progress = time.monotonic(), 0

    def set_up(self, folder):
        options = self.options
        first = [job(number, self.steps) for number in range(max(4 * options.ranks, options.faults // 4))]
        self.jobs = {one["id"]: one for one in first}
        groups = options.ranks_per_video > 1
        self.night = Night(folder, options.build, options.renderer, options.ranks, first, options.ranks_per_video)
        drawn = (faults.every_point() if options.every_point
                 else faults.draw(options.seed, 20 * options.faults + 50, groups))
        self.injector = faults.Injector(self.night, drawn, options.every_point)
        self.events, self.watcher = Events(self.night.server), Watcher(self.night.out)

    # ---- the run ----------------------------------------------------------------------------------------------------

    def run(self):
        self.events.start()
        self.watcher.start()
        self.began = time.monotonic()
        self.under_fire()
        self.seconds = time.monotonic() - self.began
        if not self.violations:
            self.quietly()
        self.check()

    def under_fire(self):
        topped = 0.0
        while not self.enough() and not self.stuck():
            self.keep_running()
            self.injector.tick()
            if time.monotonic() - self.changed < BREATHE_S:
                self.injector.step()
            if time.monotonic() - topped > 0.5:
                topped = time.monotonic()
                self.top_up()
            time.sleep(0.01)
        self.injector.faults.clear()
        self.injector.tick(undo_all=True)

    def enough(self):
        if self.options.every_point:
            return not self.injector.faults and not self.injector.armed
        if time.monotonic() - self.began > 60 * self.options.minutes:
            return True
        return len(self.injector.records) >= self.options.faults

    def quietly(self):
        """Lets what is under way end, then one run without faults, which must come to the end of everything."""
        self.changed = time.monotonic()
        settled = now_ms() + 1000 * SETTLED_S
        while self.night.process is not None and not self.stuck() and not self.fails_unhit(settled):
            self.look_at_end()
            self.injector.tick()
            time.sleep(0.05)
        self.check_orphans()
        self.left_behind, self.left_states = checks.litter(self.night.out)
        for file in [*self.left_behind, *self.left_states]:  # a run sweeps what is a day old
            os.utime(file, (0, 0))
        self.list_for_quiet_run()
        self.quiet_run()

    def list_for_quiet_run(self):
        """Nothing more than before: a job that came through the inbox and was lost would come back."""

    def quiet_run(self):
        self.night.server.wait()
        self.night.start(faults=False)
        began = now_ms()
        while self.quiet_code is None and not self.stuck() and not self.fails_unhit(began):
            self.quiet_code = self.night.ended()
            time.sleep(0.05)

    def fails_unhit(self, began):
        """A job that fails an attempt with nothing to blame may do so for ever: the quiet run need not be waited for."""
        found = checks.failed_since(list(self.events.events), began)
        self.violations += found
        return bool(found)

    def look_at_end(self):
        code = self.night.ended()
        if code is None:
            return
        self.injector.run_ended()
        self.ended(code)
        said = self.night.said()
        if self.night.private and GIVEN_UP in said:
            said = said.replace("exit code 4", "")
        if CRASH.search(said):
            log = f"{self.night.folder}/said/{len(self.night.codes) - 1:04}.log"
            self.violations.append(f"crash or internal error: {log}")

    def ended(self, code):
        """A run under fire has."""

    def keep_running(self):
        self.look_at_end()
        if self.night.process is None:
            self.check_orphans()
            self.night.start()

    def check_orphans(self):
        """What a run has started goes with it, within the second that a renderer needs to notice and a bit."""
        until = time.monotonic() + 10
        while time.monotonic() < until:
            self.injector.tick()
            left = self.night.processes()
            if not left:
                return
            time.sleep(0.1)
        self.violations.append(f"left running after the run: {left}")
        for pid in left:
            self.injector.signal(pid, 9)

    def top_up(self):
        """Jobs from elsewhere: as long as faults are due there is work for them to hit."""
        client = self.night.server.client
        try:
            while client.zcard(PREFIX + "pend") + client.llen(PREFIX + "inbox") < 3 * self.options.ranks:
                new = job(len(self.jobs), self.steps)
                client.rpush(PREFIX + "inbox", json.dumps(new))
                self.jobs[new["id"]] = new
        except redis.RedisError:
            pass  # pushed or not, the same content again changes nothing; an acknowledged one is in the list

    def stuck(self):
        if self.progress() != self.last_progress or self.backing_off():
            self.last_progress, self.changed = self.progress(), time.monotonic()
        if time.monotonic() - self.changed < NO_PROGRESS_S:
            return False
        self.violations.append(f"no job got on for {NO_PROGRESS_S} s")
        return True

    def progress(self):
        """Grows as long as jobs get on: claims that come to nothing go round in circles."""
        return len(self.events.done) + self.events.others

    def backing_off(self):
        """Whether all that is left waits for its next attempt: minutes, after many."""
        try:
            left = [self.night.server.client.zcard(PREFIX + state) for state in ("pend", "run")]
            first = self.night.server.client.zrange(PREFIX + "delay", 0, 0, withscores=True)
        except redis.RedisError:
            return False
        return not any(left) and bool(first) and first[0][1] > 1000 * time.time()

    # ---- the checks -------------------------------------------------------------------------------------------------

    def check(self):
        night, ids, server = self.night, set(self.jobs), self.night.server
        server.wait()
        self.seen = self.watcher.finish()
        self.attempts = checks.attempts_of(self.events.finish())
        if self.quiet_code != 0:
            self.violations.append(f"the quiet run at the end gave {self.quiet_code}: {night.folder}/said")
        self.violations += checks.all_terminal(server, ids)
        self.violations += checks.run_again_only_when_hit(self.attempts, self.injector.records)
        self.violations += checks.attempts_add_up(server, self.attempts)
        self.violations += checks.none_published_stale(self.seen, self.attempts)
        self.violations += checks.never_replaced(night.out, self.seen, ids)
        self.violations += checks.redis_says_so(server, night.out, ids)
        left, states = checks.litter(night.out)
        self.violations += [f"litter: {file}" for file in [*left, *states]]
        self.check_bytes(ids)

    def check_bytes(self, ids):
        night = self.night
        if self.options.renderer == "stub":  # each is a clip that decodes, and what players skip
            self.violations += checks.equal_to(self.stub_bytes(), night.out, ids)
            self.violations += checks.decode([night.folder / "clip.mp4"])
            return
        self.violations += checks.decode(sorted((night.out / "videos").glob("[!.]*.mp4")))
        if self.options.ranks_per_video == 1:
            self.violations += checks.equal_to(self.hashes_in(self.undisturbed()), night.out, ids)
        else:  # by groups of one size and another, the last bits differ
            self.violations += checks.close_to(self.undisturbed(), night.out, ids)

    def stub_bytes(self):
        clip = (self.night.folder / "clip.mp4").read_bytes()

        def of(name):
            state = stub_engine.last_state(name, self.jobs[name])
            return {f"videos/{name}.mp4": hashlib.sha256(stub_engine.video_of(clip, state)).hexdigest(),
                    f"archive/{name}.h5": hashlib.sha256(stub_engine.archive_of(state)).hexdigest()}
        return of

    def undisturbed(self):
        """The same jobs once more by one rank in an OUT of its own, with a private Redis."""
        out = self.night.folder / "undisturbed"
        self.night.jobs_file.write_text("".join(json.dumps(one) + "\n" for one in self.jobs.values()))
        subprocess.run(self.night.command(ranks=1, out=out), env=self.night.environment(False), check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return out

    @staticmethod
    def hashes_in(out):
        return lambda name: {path: hashlib.sha256((out / path).read_bytes()).hexdigest()
                             for path in (f"videos/{name}.mp4", f"videos/{name}.jpg", f"archive/{name}.h5")}

    def summary(self):
        records = self.injector.records
        claims = [claim for all_of_one in self.attempts.values() for claim in all_of_one]
        ends = collections.Counter(claim["end"] for claim in claims)
        return {"seed": self.options.seed, "renderer": self.options.renderer, "ranks": self.options.ranks,
                "ranks_per_video": self.options.ranks_per_video,
                "faults": len(records), "by_kind": dict(collections.Counter(r["kind"] for r in records).most_common()),
                "points": dict(collections.Counter(r["detail"] for r in records if "." in r["detail"]).most_common()),
                "traps_nobody_came_by": self.injector.missed, "seconds": round(self.seconds, 1),
                "runs": len(self.night.codes), "exit_codes": dict(collections.Counter(map(str, self.night.codes))),
                "jobs": len(self.jobs), "claims": len(claims), "ends": dict(ends),
                "temporary_files_before_the_quiet_run": len(getattr(self, "left_behind", [])),
                "states_of_finished_jobs_before_it": len(getattr(self, "left_states", [])),
                "groups": self.groups(), "violations": len(self.violations)}

    def groups(self):
        """How often one formed, lost a rank, and was left by a member."""
        said = "".join(file.read_text(errors="replace") for file in (self.night.folder / "said").iterdir())
        return {event: said.count(f": {event}: ") for event in ("group", "group-smaller", "left-group")}


def main():
    parser = argparse.ArgumentParser(prog="scripts/chaos", description="faults against nightreel run, and what held")
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=600, help="no more faults after so long")
    parser.add_argument("--every-point", action="store_true",
                        help="instead of drawn faults one kill and one freeze at each point of a job's life")
    parser.add_argument("--ranks", type=int, default=4)
    parser.add_argument("--ranks-per-video", type=int, default=1)
    parser.add_argument("--renderer", choices=("stub", "shapes"), default="stub")
    parser.add_argument("--build", type=pathlib.Path, default=SOURCE / "build/release", help="the build's folder")
    parser.add_argument("--keep", type=pathlib.Path, help="a new folder to work in and to keep")
    parser.add_argument("--also", type=lambda text: text.split(","), default=[], metavar="KIND,…",
                        help="faults of the world besides: vanish, writer, private, pipe, flood")
    parser.add_argument("--planted", metavar="NAME|all|list", help="find bugs that are put in on purpose (planted.py)")
    parser.add_argument("--bug", help=argparse.SUPPRESS)  # the one that this run's build is to have
    options = parser.parse_args()
    if options.planted or options.bug:
        import planted  # only here: it runs this program
    if options.planted:
        return planted.hunt(options)
    return night_of(options, planted.BUGS[options.bug] if options.bug else None)


def night_of(options, bug=None):
    """One chaos run; its exit code."""
    if options.also:
        import truth  # it is made of this module
    folder = options.keep or pathlib.Path(tempfile.mkdtemp(prefix="nightreel-chaos-"))
    chaos = (truth.Truth if options.also else Chaos)(options, folder)
    chaos.night.planted = bug
    try:
        chaos.run()
    finally:
        chaos.night.end_all()
    summary = chaos.summary()
    (folder / "summary.json").write_text(json.dumps({**summary, "records": [
        {**r, "ranks": r["ranks"] if r["ranks"] == "all" else sorted(r["ranks"])} for r in chaos.injector.records],
        "found": chaos.violations, "events": chaos.events.events}, indent=1))
    print(json.dumps(summary, indent=2))
    for violation in chaos.violations:
        print("VIOLATION", violation)
    if chaos.violations:
        print(f"kept: {folder}")
    elif options.keep is None:
        shutil.rmtree(folder)
    return 1 if chaos.violations else 0


if __name__ == "__main__":
    sys.exit(main())
