"""A Redis that fails while ranks render, one that cannot be used, and one that two runs share: through `mpirun`.

The renderers are held_engine.py, so that a fault comes exactly between a video's first steps and its last.
"""
import concurrent.futures
import hashlib
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import program
from program import MPIRUN, SHAPES, SOURCE, small, until
from redis_servers import Proxy, Server, free_port

sys.path.insert(0, str(SOURCE / "tests/support"))
import side_by_side  # noqa: E402  (found by the line above)

load_tests = side_by_side.loader(threads=3)
PREFIX = "nightreel:{default}:"
LIMIT_S = 300  # of a run that does not hang


def events(client):
    return client.xrange(PREFIX + "events")


class WithRedis(program.ProgramTest):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.mkdtemp(prefix="nightreel-e2e-")
        cls.addClassCleanup(shutil.rmtree, folder)
        cls.clip = pathlib.Path(folder) / "clip.mp4"
        subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=size=16x16:rate=16", "-frames:v", "5",
                        "-pix_fmt", "yuv420p", "-c:v", "libx264", str(cls.clip)], check=True)

    def setUp(self):
        super().setUp()
        self.held = self.folder / "held"
        self.held.mkdir()
        self.program = self.copy_of_nightreel()
        shutil.copy2(SOURCE / "tests/e2e/held_engine.py", self.program.parent / "nightreel-engine")

    def environment(self, **more):
        return {"HELD_FOLDER": str(self.held), "HELD_STUB": str(SOURCE / "tests/chaos"), "CHAOS_CLIP": str(self.clip),
                "OMP_NUM_THREADS": "1", **more}

    def server(self, name, *settings):
        server = Server(self.folder / name, *settings)
        self.addCleanup(server.kill)
        return server

    def words(self, *more, out=None, ranks=2):
        launcher = [*MPIRUN, "-np", ranks] if ranks > 1 else []
        return [*launcher, self.program, "run", "--model", SHAPES, "--out", out or self.out, "--threads", 1, *more]

    def start(self, *more, env=None, out=None):
        process = program.start(self.words(*more, out=out), env=self.environment(**(env or {})))
        self.addCleanup(process.kill)
        return process

    def call(self, *more, env=None, **how):
        return program.call(self.words(*more, **how), env=self.environment(**(env or {})), timeout=LIMIT_S)

    @staticmethod
    def finish(process):
        return program.finish(process, LIMIT_S)

    def waiting(self):
        """Jobs that stand in the middle of their denoising."""
        names = {file.name.partition("-")[2] for file in self.held.glob("at-*")}
        return sorted(name for name in names if not (self.held / f"go-{name}").exists())

    def both_wait(self):
        self.assertTrue(until(lambda: len(self.waiting()) == 2, 120), "both ranks are in the middle of a video")
        return self.waiting()

    def let_go(self, *names):
        for name in names:
            (self.held / f"go-{name}").touch()

    def rendered(self, *names):
        return until(lambda: all((self.held / f"rendered-{name}").exists() for name in names), 120)

    def logs(self):
        return "".join(file.read_text() for file in self.out.glob("logs/*/rank-*.jsonl"))


class WhileRanksRender(WithRedis):
    """One run, seven faults: during each both ranks render to the end, and after it both videos are published."""

    def setUp(self):
        super().setUp()
        self.first = self.server("first", "--maxmemory-policy", "noeviction")
        self.second = self.server("second", "--maxmemory-policy", "noeviction", "--replicaof",
                                  f"127.0.0.1 {self.first.port}")
        self.proxy = Proxy(self.first)
        self.addCleanup(self.proxy.stop)
        self.client = self.first.client()

    def done(self, *names):
        return until(lambda: all(self.client.hget(f"{PREFIX}job:{name}", "state") == "done" for name in names), 120)

    def fault(self, inject, seen, undo):
        """Comes while both ranks render; is over when both have rendered to the end and it was seen to bite."""
        jobs = self.both_wait()
        inject()
        self.let_go(*jobs)
        self.assertTrue(self.rendered(*jobs), "ranks keep rendering")
        self.assertTrue(until(seen, 120), "the fault was noticed")
        undo()
        self.assertTrue(self.done(*jobs), "both videos are published")

    def killed_and_restarted(self):
        before = []

        def kill():
            before.extend(events(self.client))
            self.first.kill()
        self.fault(kill, lambda: self.proxy.accepted > 0, self.first.start)
        self.assertEqual(events(self.client)[:len(before)], before, "what was acknowledged is there")

    def reset(self):
        count = self.proxy.accepted
        self.fault(lambda: setattr(self.proxy, "cutting", True), lambda: self.proxy.accepted >= count + 4,
                   lambda: setattr(self.proxy, "cutting", False))

    def stalled(self):
        count = self.proxy.accepted

        def flow_again():
            self.proxy.cutting = True  # whoever waits on an old connection, waits for nothing
            self.assertTrue(until(lambda: not self.proxy.peers), "all connections are cut")
            self.proxy.cutting = self.proxy.stalling = False
        self.fault(lambda: setattr(self.proxy, "stalling", True), lambda: self.proxy.accepted > count, flow_again)

    def flushed(self):
        self.fault(self.client.script_flush, lambda: True, self.client.script_flush)

    def read_only(self):
        self.fault(lambda: self.client.replicaof("127.0.0.1", 1), lambda: "this server is a replica" in self.logs(),
                   lambda: self.client.replicaof("NO", "ONE"))

    def full(self):
        jobs = self.waiting()

        def refuses():
            ended = program.nightreel("submit", self.write_jobs(small("late"), name="late.jsonl"), "--redis",
                                      f"redis://127.0.0.1:{self.first.port}")
            self.assert_refused(ended, 3, "OOM command not allowed", "raise its maxmemory")
            return self.done(*jobs)
        self.fault(lambda: self.client.config_set("maxmemory", 1), refuses, lambda: self.client.config_set("maxmemory", 0))

    def in_step(self):
        about = self.second.client().info("replication")
        return (about["master_link_status"], about["slave_repl_offset"]) == (
            "up", self.client.info("replication")["master_repl_offset"])

    def failed_over(self):
        self.both_wait()
        self.assertTrue(until(self.in_step, 60))
        before = events(self.client)

        def promote():
            self.client = self.second.client()
            self.client.replicaof("NO", "ONE")
        self.fault(self.first.kill, lambda: True, promote)
        self.assertEqual(events(self.client)[:len(before)], before, "what was acknowledged is there")

    def test_nothing_is_lost_and_no_rank_stops(self):
        faults = [self.killed_and_restarted, self.reset, self.stalled, self.flushed, self.read_only, self.full,
                  self.failed_over]
        names = [f"job-{number:02}" for number in range(2 * len(faults))]
        process = self.start(self.write_jobs(*(small(name, steps=4) for name in names)), "--lease", 120, "--redis",
                             f"redis://127.0.0.1:{self.proxy.port},redis://127.0.0.1:{self.second.port}")
        for fault in faults:
            fault()
            self.assertIsNone(process.poll(), "no rank stops")
        self.assert_ended(self.finish(process), 0)
        counted = [(event["id"], event["event"]) for _, event in events(self.client)]
        for name in names:
            job = self.client.hgetall(f"{PREFIX}job:{name}")
            video = (self.out / f"videos/{name}.mp4").read_bytes()
            self.assertEqual((job["state"], job["attempts"]), ("done", "1"), name)
            self.assertEqual(job["sha256"], hashlib.sha256(video).hexdigest())
            self.assertEqual([counted.count((name, what)) for what in ("submitted", "running", "done")], [1, 1, 1], name)
        self.assertEqual([rank["error"] for rank in self.run_json()["ranks"]], [None, None])


class OneThatForgets(WithRedis):
    """All of its data go while two ranks render: each video is made, and the run says so only then."""

    def forgets(self, name, forget, *settings):
        server = self.server(name, "--maxmemory-policy", "noeviction", *settings)
        names = [f"{name}-{number}" for number in range(6)]
        process = self.start(self.write_jobs(*(small(one, steps=4) for one in names)), "--lease", 3, "--redis",
                             f"redis://127.0.0.1:{server.port}")
        self.both_wait()
        forget(server)
        self.let_go(*names)
        self.assert_ended(self.finish(process), 0)
        summary = self.run_json()
        self.assertEqual((summary["done"], summary["exit_code"]), (6, 0))
        for one in names:
            job = server.client().hgetall(f"{PREFIX}job:{one}")
            video = (self.out / f"videos/{one}.mp4").read_bytes()
            self.assertEqual((job["state"], job["sha256"]), ("done", hashlib.sha256(video).hexdigest()), one)
        self.assertIn("jobs that the queue had lost wait again", self.logs())
        self.assertIn("the queue's records were lost", self.logs())

    def test_a_server_that_is_flushed(self):
        self.forgets("flushed", lambda server: server.client().flushall())

    def test_a_server_without_persistence_that_restarts(self):
        def restart(server):
            server.kill()
            server.start()
        self.forgets("forgetful", restart, "--appendonly", "no")

    def test_a_server_that_evicts_although_it_says_nothing_of_its_configuration(self):
        server = self.server("managed", "--maxmemory-policy", "allkeys-lru", "--rename-command", "CONFIG", "")
        ended = self.call(self.write_jobs(small("a")), "--redis", f"redis://127.0.0.1:{server.port}", ranks=1)
        self.assert_refused(ended, 3, "its maxmemory-policy is allkeys-lru", "noeviction")


class OneThatCannotBeUsed(WithRedis):
    def refusals(self):
        guarded = self.server("guarded", "--requirepass", "right-word")
        evicting = self.server("evicting", "--maxmemory-policy", "allkeys-lru")
        full = self.server("full", "--maxmemory", "1", "--maxmemory-policy", "noeviction")
        replica = self.server("replica", "--replicaof", "127.0.0.1 1")
        here = "redis://127.0.0.1:"
        return {
            "a wrong password": (f"redis://:wrong-word@127.0.0.1:{guarded.port}", 3, "WRONGPASS", "REDIS_PASSWORD"),
            "no password": (f"{here}{guarded.port}", 3, "NOAUTH", "REDIS_PASSWORD"),
            "one that evicts": (f"{here}{evicting.port}", 3, "allkeys-lru", "CONFIG SET maxmemory-policy noeviction"),
            "one that is full": (f"{here}{full.port}", 3, "OOM command not allowed", "raise its maxmemory"),
            "a replica": (f"{here}{replica.port}", 3, "READONLY", "name the master"),
            "nobody there": (f"{here}{free_port()}", 3, "Connection refused"),
        }

    def test_a_run_says_why_and_how_to_mend_it(self):
        refusals = self.refusals()
        jobs = self.write_jobs(small("a"))

        def launch(name):  # of two ranks one says it
            ranks = 2 if name == "nobody there" else 1
            return self.call(jobs, "--redis", refusals[name][0], out=self.folder / name.replace(" ", "-"), ranks=ranks)
        with concurrent.futures.ThreadPoolExecutor(len(refusals)) as pool:
            launched = dict(zip(refusals, pool.map(launch, refusals)))
        for name, ended in launched.items():
            with self.subTest(name):
                self.assert_refused(ended, *refusals[name][1:])
                self.assertNotIn("wrong-word", ended.said)

    def test_what_is_wrong_with_the_words_is_said_before_anything_starts(self):
        for flags, code, part in ((["--redis", "http://localhost"], 2, "unknown scheme"),
                                  (["--redis", "localhost:6379"], 2, "no scheme"),
                                  (["--redis", "redis://u:secret@h:port"], 2, "port"),
                                  (["--redis", "redis+sentinel://h/m"], 3, "Sentinel"),
                                  (["--queue", "a b"], 2, "queue name"), (["--queue", "{x}"], 2, "queue name"),
                                  (["--queue", ""], 2, "queue name")):
            with self.subTest(flags):
                ended = program.nightreel("run", "--model", SHAPES, "--out", self.out, *flags)
                self.assert_refused(ended, code, part)
                self.assertNotIn("secret", ended.said)
                self.assertFalse(self.out.exists())


class Shared(WithRedis):
    def test_a_password_that_changes_ends_the_run_and_with_the_new_one_it_goes_on(self):
        server = self.server("guarded", "--requirepass", "first-word", "--maxmemory-policy", "noeviction")
        jobs = self.write_jobs(*(small(f"job-{number}", steps=4) for number in range(4)))
        secret = self.folder / "secret"
        secret.write_text("first-word\n")
        words = [jobs, "--redis", f"redis://127.0.0.1:{server.port}", "--lease", 3]
        process = self.start(*words, env={"REDIS_PASSWORD_FILE": str(secret)})
        waiting = self.both_wait()
        client = server.client(password="first-word")
        client.config_set("requirepass", "second-word")
        client.client_kill_filter(_type="normal")
        self.let_go(*waiting)
        ended = self.finish(process)
        self.assertEqual(ended.code, 3, ended.said)
        self.assertIn("check the user and password", ended.said)
        for file in self.held.glob("at-*"):
            self.let_go(file.name.partition("-")[2])
        self.let_go(*(f"job-{number}" for number in range(4)))
        secret.write_text("second-word\n")
        # The first run could not give its leases back: they may still be running out.
        self.assert_ended(self.call(*words, "--wait-for-all", env={"REDIS_PASSWORD_FILE": str(secret)}), 0)
        client = server.client(password="second-word")
        states = [client.hget(f"{PREFIX}job:job-{number}", "state") for number in range(4)]
        self.assertEqual(states, ["done"] * 4)
        for file in self.out.glob("**/*"):
            self.assertNotIn(b"-word", file.read_bytes() if file.is_file() else b"", file)

    def test_an_acl_user_with_the_rights_that_docs_redis_names_over_a_socket(self):
        rights = "~nightreel:{NAME}:* &* +@all -@admin -@dangerous +info +config|get"
        self.assertIn(f"`{rights}`", (SOURCE / "docs/redis.md").read_text())
        server = self.server("acl", "--user", "reel", "on", ">reel-word", *rights.replace("NAME", "default").split(),
                             "--user", "default", "off", "--maxmemory-policy", "noeviction")
        secret = self.folder / "secret"
        secret.write_text("reel-word\n")
        self.let_go("a", "b")
        ended = self.call(self.write_jobs(small("a"), small("b")), "--redis", f"unix://{server.socket}",
                          env={"REDIS_USERNAME": "reel", "REDIS_PASSWORD_FILE": str(secret)})
        self.assert_ended(ended, 0)
        self.assertEqual(len(list(self.out.glob("videos/*.mp4"))), 2)

    def test_a_server_that_keeps_nothing_on_disk_is_warned_of_once(self):
        server = self.server("forgetful", "--maxmemory-policy", "noeviction", "--appendonly", "no")
        ended = self.call("--redis", f"redis://127.0.0.1:{server.port}")
        self.assert_ended(ended, 0)
        self.assertEqual(ended.log.count("it keeps nothing on disk"), 1, ended.said)

    def test_a_prompt_of_ten_megabytes_is_refused_wherever_it_comes_from(self):
        server = self.server("shared", "--maxmemory-policy", "noeviction")
        at = ["--redis", f"redis://127.0.0.1:{server.port}"]
        large = {"id": "large", "prompt": 10_000_000 * "x"}
        jobs = self.write_jobs(large)
        for words in (["run", jobs, "--model", SHAPES, "--out", self.out], ["submit", jobs]):
            self.assert_refused(program.nightreel(*words, *at), 2, f"{jobs}:1: ")
        self.assertEqual(server.client().keys("*"), [])
        server.client().rpush(PREFIX + "inbox", json.dumps(large))
        self.assert_ended(program.call([self.program, "run", "--model", SHAPES, "--out", self.out, *at],
                                       env=self.environment()), 1)
        (failed,) = self.run_json()["jobs"]
        self.assertRegex(failed["id"], "^inbox-[0-9a-f]{16}$")
        self.assertIn("10000029 bytes: at most 262144 are allowed", failed["error"]["message"])

    def test_a_second_run_with_another_model_is_refused_until_the_first_has_drained_the_queue(self):
        server = self.server("shared", "--maxmemory-policy", "noeviction")
        at = ["--redis", f"redis://127.0.0.1:{server.port}"]
        first = self.start(self.write_jobs(small("a", steps=4), small("b", steps=4)), *at)
        waiting = self.both_wait()
        others = self.write_jobs(small("c"), name="others.jsonl")
        other = {"HELD_DIGEST": "7" * 32}
        refused = self.call(others, *at, env=other, out=self.folder / "other")
        self.assert_refused(refused, 3, "bound to the model with digest 5555", "7777", "--queue")
        self.assertFalse(server.client().exists(PREFIX + "job:c"), "nothing was added")
        self.let_go(*waiting, "c")
        self.assert_ended(self.finish(first), 0)
        self.assert_ended(self.call(others, *at, env=other, out=self.folder / "other"), 0)
        self.assertEqual(json.loads((self.folder / "other/videos/c.json").read_text())["model_digest"], "7" * 32)


if __name__ == "__main__":
    program.main()
