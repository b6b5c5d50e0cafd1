"""A night whose world misbehaves: what its exit code says must be true on disk.

Jobs come in lists alone, a few more with each run, so that runs come to their end: each that gives 0 is held to it at once.
After the faults one run with every job of the night must give 0, and then every video stands, its bytes as they should be;
what another writer put in a video's place stands beside it under its own name; nobody's reject is lost.
"""
import hashlib
import json
import time

import checks
import chaos as plain
import world
from night import PREFIX, Night, Watcher, now_ms

JUST_NOW_MS = 5000  # before a run's end: what somebody does to a video after the run's last look at it, it cannot see
SIGPIPE_CODES = (141, -13)
NEW_JOBS = 3  # a rank and run


class NoEvents:
    """Records vanish, and with them the stream."""

    def __init__(self):
        self.events = []

    def start(self):
        pass

    def finish(self):
        return []


class Truth(plain.Chaos):
    def set_up(self, folder):
        options, also = self.options, set(self.options.also)
        self.jobs = {}
        self.night = Night(folder, options.build, options.renderer, options.ranks, [], options.ranks_per_video,
                           private="private" in also, piped="pipe" in also)
        drawn = world.draw(options.seed, 20 * options.faults + 50, sorted(also), options.ranks_per_video > 1,
                           self.night.private)
        self.injector = world.WorldInjector(self.night, drawn, lambda: list(self.jobs), self.expected_video)
        self.events, self.watcher = NoEvents(), Watcher(self.night.out)
        self.good_ends = 0

    def expected_video(self, job):
        """Of the stub's videos; of others whatever their sidecar says, as another writer leaves that alone."""
        if self.options.renderer == "stub":
            return self.stub_bytes()(job)[f"videos/{job}.mp4"]
        try:
            return json.loads((self.night.out / f"videos/{job}.json").read_text()).get("sha256")
        except (OSError, ValueError):
            return None

    # ---- the run ----------------------------------------------------------------------------------------------------

    def keep_running(self):
        self.look_at_end()
        if self.night.process is None:
            self.check_orphans()
            for _ in range(NEW_JOBS * self.options.ranks):
                new = plain.job(len(self.jobs), self.steps)
                self.jobs[new["id"]] = new
            self.night.list_jobs(self.jobs.values())
            self.night.start()

    def top_up(self):
        pass

    def ended(self, code):
        if code in SIGPIPE_CODES:
            self.violations.append(f"run {len(self.night.codes) - 1} died of SIGPIPE ({code})")
        if code == 0 or code == 1 and self.injector.floods:  # of rejects alone: these jobs do not fail for good
            self.good_ends += 1
            self.violations += [f"run {len(self.night.codes) - 1} gave {code}, but {what}" for what in self.missing(JUST_NOW_MS)]

    def missing(self, recently_ms):
        """Videos that do not stand as their sidecar says and that nobody has touched just now."""
        found = []
        for job in sorted(self.jobs):
            touched = self.injector.touched.get(job, [])
            if not touched or touched[-1][0] < now_ms() - recently_ms:
                found += self.look_at_video(job)
        return found

    def look_at_video(self, job):
        video, sidecar = self.night.out / f"videos/{job}.mp4", self.night.out / f"videos/{job}.json"
        try:
            sha = hashlib.sha256(video.read_bytes()).hexdigest()
            said = json.loads(sidecar.read_text())["sha256"]
        except (OSError, ValueError, KeyError) as error:
            return [f"no video: {job}: {error}"]
        return [] if sha == said == self.expected_video(job) else [f"another video: {job}: {sha}, its sidecar says {said}"]

    def progress(self):
        return len(self.watcher.seen) + len(self.night.codes) + len(self.injector.records)

    def backing_off(self):
        try:
            return super().backing_off()
        except (OSError, ValueError, KeyError):
            return False  # a private Redis that rests

    def list_for_quiet_run(self):
        self.night.list_jobs(self.jobs.values())

    def quietly(self):
        super().quietly()
        if self.quiet_code == 1 and self.injector.floods:  # the rejects that ended in it, which the next one finds ended
            self.quiet_code = None
            self.quiet_run()

    # ---- the checks -------------------------------------------------------------------------------------------------

    def check(self):
        self.seen, self.attempts = self.watcher.finish(), {}
        if self.violations:
            return  # no quiet run has put anything right
        if self.quiet_code != 0:
            self.violations.append(f"the quiet run at the end gave {self.quiet_code}: {self.night.folder}/said")
        self.violations += self.missing(-1)
        self.violations += self.set_aside()
        self.violations += checks.never_replaced(self.night.out, self.seen, set(self.jobs) - set(self.injector.touched))
        left, states = checks.litter(self.night.out)
        self.violations += [f"litter: {file}" for file in [*left, *states]]
        if not self.night.private:
            self.night.server.wait()
            self.violations += checks.all_terminal(self.night.server, self.jobs)
            self.violations += checks.redis_says_so(self.night.server, self.night.out, self.jobs)
            self.violations += self.rejects()
        self.check_bytes(set(self.jobs))

    def set_aside(self):
        """What another writer put in a video's place was moved away, never removed."""
        found = []
        for job, touches in self.injector.touched.items():
            for _, left in touches:
                name = f"{job}.mp4.was-{(left or '')[:8]}"
                aside = (self.night.out / "videos").glob(f"{name}*")  # "-2" where there was one
                if left and left not in [hashlib.sha256(file.read_bytes()).hexdigest() for file in aside]:
                    found.append(f"removed: what somebody put in the place of the video of {job}: no {name}")
        return found

    def rejects(self):
        """Each entry that was no job has its record, where no record has vanished since."""
        client, found = self.night.server.client, []
        if client.llen(PREFIX + "inbox"):
            found.append(f"lost: {client.llen(PREFIX + 'inbox')} entries are still in the inbox")
        since = max(self.injector.vanished_ms, default=0)
        for number, at in enumerate(self.injector.floods):
            ids = {world.reject_id(entry) for entry in world.garbage(number)} if at > since else ()
            lost = [one for one in ids if client.hget(f"{PREFIX}job:{one}", "state") != "failed"]
            if lost:
                found.append(f"lost: {len(lost)} rejects of flood {number}, as {lost[0]}")
        return found

    def summary(self):
        return {**super().summary(), "also": sorted(self.options.also), "runs_that_drained": self.good_ends,
                "touched": sum(map(len, self.injector.touched.values())), "floods": len(self.injector.floods)}
