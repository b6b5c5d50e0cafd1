"""The commands around the main job beside runs that hold their queue, and what a run makes of its flags. Its renderers
are tests/rank's fakes: what is drawn is other tests' matter. What needs no run is tested in the process (tests/app).
"""
import json
import os
import signal
import stat

import redis

import program
from program import SHAPES, nightreel, small, until

FIELDS = {"id", "state", "attempts", "rank", "host", "step", "steps", "eta_s", "error"}


class OnAPrivateQueue(program.ProgramTest):
    def setUp(self):
        super().setUp()
        self.program = self.with_fake_renderer()

    def on_queue(self, command, *arguments, **how):
        return nightreel(command, *arguments, "--out", self.out, **how)

    def status(self, *flags):
        ended = self.on_queue("status", "--json", *flags)
        self.assert_ended(ended, 0)
        return json.loads(ended.out)

    def words(self, *arguments):
        return [self.program, "run", *arguments, "--model", SHAPES, "--out", self.out, "--threads", "1"]

    def run_jobs(self, *arguments):
        return program.call(self.words(*arguments))

    def submit(self, *jobs):
        return self.on_queue("submit", "-", stdin="".join(json.dumps(job) + "\n" for job in jobs))

    def test_a_run_that_follows_shares_its_queue_and_holds_its_out(self):
        self.assertEqual(self.submit(small("a"), small("cancelled")).out, "2 added, 0 known already\n")
        self.assertEqual(self.on_queue("cancel", "cancelled").out, "cancelled: cancelled\n")
        process = program.start(self.words("--follow"))
        try:
            self.assertTrue(until((self.out / "queue/address").exists, 120))
            self.assertEqual(stat.S_IMODE((self.out / "queue/address").stat().st_mode), 0o600)
            self.assert_refused(self.run_jobs(), 3, str(self.out), "held by `nightreel run` on host",
                                f"pid {process.pid}", "--redis")
            self.assertTrue(until((self.out / "videos/a.mp4").exists, 120), "a job that had waited was not made")
            self.assertEqual(self.submit(small("a"), small("b")).out, "1 added, 1 known already\n")
            self.assertTrue(until((self.out / "videos/b.mp4").exists, 120), "a job that came later was not made")
            self.assertIsNone(process.poll(), "it waits for more")
            self.assertTrue(until(lambda: self.status()["done"] == 2, 120))
        finally:
            process.send_signal(signal.SIGUSR1)
            ended = program.finish(process)
        self.assert_ended(ended, 0)
        self.assertEqual(self.run_json()["done"], 2)
        self.assertFalse((self.out / "queue/address").exists(), "the private server rests")
        seen = self.status("--all")
        self.assertEqual((seen["done"], seen["cancelled"], seen["pending"]), (2, 1, 0))
        self.assertEqual({job["id"]: (job["state"], job["attempts"]) for job in seen["jobs"]},
                         {"a": ("done", 1), "b": ("done", 1), "cancelled": ("cancelled", 0)})
        self.assertEqual(set(seen["jobs"][0]), FIELDS)
        self.assertEqual(self.on_queue("retry", "a").code, 1)
        self.assertEqual(self.on_queue("retry", "cancelled").out, "cancelled: pending\n")

    def test_a_deadline_or_a_full_disk_stops_early_and_the_same_command_goes_on(self):
        jobs = self.write_jobs(small("a"), small("b"))
        self.assert_ended(self.run_jobs(jobs, "--deadline", "0s"), 75)
        self.assertEqual(self.run_json()["exit_code"], 75)
        self.assert_ended(self.run_jobs(jobs, "--min-free", "900TB"), 75)
        self.assertEqual(self.status()["pending"], 2)

        (self.folder / "fake/digest").write_text("m2")
        self.assertEqual(self.run_json()["model_digest"], "m1")
        self.assert_refused(self.run_jobs(jobs), 3, "queue", "digest m1", "this one is m2")
        self.assertEqual(self.status()["pending"], 2, "the queue is bound to its model while it holds work")

        (self.folder / "fake/digest").unlink()
        self.assert_ended(self.run_jobs(jobs, "--deadline", "6h30m"), 0)
        self.assertEqual(self.run_json()["done"], 2)


    def test_a_run_for_nothing_and_a_redis_that_is_none_are_told_before_weights_are_loaded(self):
        self.assert_refused(self.run_jobs(), 2, str(self.out), "is empty", "nightreel submit --out")
        jobs = self.write_jobs(small("a"))
        nowhere = f"unix://{self.folder}/nowhere"
        self.assert_refused(self.run_jobs(jobs, "--redis", nowhere), 3, nowhere)
        self.assertFalse((self.folder / "fake/started").exists(), "a renderer was started")
        self.assertEqual(self.submit(small("a")).code, 0)
        self.assert_ended(self.run_jobs(), 0)
        self.assert_ended(self.run_jobs(), 0)  # what is done is no empty queue

    def test_a_private_redis_that_is_killed_costs_no_attempt(self):
        jobs = self.write_jobs(*(small(name, prompt="until=killed") for name in ("a", "b")))
        process = program.start(self.words(jobs))
        try:
            self.assertTrue(until((self.out / "queue/address").exists, 120))
            self.assertTrue(until(lambda: self.status()["running"], 120))
            first = json.loads((self.out / "queue/address").read_text())["server_pid"]
            os.kill(first, signal.SIGKILL)
            self.assertTrue(until(lambda: self.server_pid() != first, 60))
        finally:
            (self.folder / "fake/killed").touch()
            ended = program.finish(process)
        self.assert_ended(ended, 0)
        self.assertIn("the redis-server is back on its data", ended.log)
        self.assertEqual([(job["state"], job["attempts"]) for job in self.status("--all")["jobs"]], [("done", 1)] * 2)

    def server_pid(self):
        return json.loads((self.out / "queue/address").read_text()).get("server_pid")

    def test_a_private_redis_that_dies_again_and_again_ends_the_run(self):
        jobs = self.write_jobs(small("a", prompt="until=never"))
        process = program.start(self.words(jobs))
        killed = set()

        def kill_once_more():
            try:
                server = self.server_pid()
            except (OSError, ValueError):
                return process.poll() is not None
            if server and server not in killed:
                killed.add(server)
                os.kill(server, signal.SIGKILL)
            return process.poll() is not None
        self.assertTrue(until(kill_once_more, 120), f"goes on after {len(killed)} deaths")
        ended = program.finish(process)
        self.assert_ended(ended, 3)
        self.assertIn("died 3 times within a minute", json.dumps(self.run_json()))


class TheEnvironment(program.ProgramTest):
    def test_the_engine_reads_the_config_file_that_stands_before_its_subcommand(self):
        config = self.folder / "nightreel.toml"
        config.write_text('queue = "of-a-run"\n')
        self.assert_refused(nightreel("--config", config, "generate"), 2, f"{config}: queue: no such option")

    def test_what_a_run_cannot_do_without(self):
        jobs = self.write_jobs(small("a"))
        file = self.folder / "file"
        file.touch()
        for out in (file, "/proc/nowhere"):
            with self.subTest(out):
                self.assert_refused(nightreel("run", jobs, "--model", SHAPES, "--out", out), 3, str(out))
        alone = self.copy_of_nightreel()
        self.assert_refused(program.call([alone, "run", jobs, "--model", SHAPES, "--out", self.out]), 3,
                            str(alone.parent / "nightreel-engine"))


class OnASharedRedis(program.ProgramTest):
    def setUp(self):
        super().setUp()
        self.program = self.with_fake_renderer()
        self.url = self.redis()
        self.client = redis.Redis.from_url(self.url, decode_responses=True)

    def words(self, *arguments, out=None):
        return [self.program, "run", *arguments, "--model", SHAPES, "--out", out or self.out, "--redis", self.url,
                "--threads", "1"]

    def run_jobs(self, *arguments, **how):
        return program.call(self.words(*arguments, **how))

    def push(self, *entries):
        self.client.rpush("nightreel:{default}:inbox", *(json.dumps(entry) for entry in entries))

    def job(self, name):
        return self.client.hgetall(f"nightreel:{{default}}:job:{name}")

    def failed_or_running(self):
        ended = nightreel("status", "--json", "--redis", self.url)
        return {job["id"]: job for job in json.loads(ended.out)["jobs"]}

    def test_failures_are_told_and_the_other_videos_made(self):
        inputs = self.folder / "inputs"
        inputs.mkdir()
        (inputs / "a.png").write_bytes(b"no picture")
        self.push({"promt": "x"}, small("height", height=50), small("good"), small("relative", image="a.png"))
        jobs = self.write_jobs(small("given"))
        self.assert_ended(self.run_jobs(jobs), 1)
        summary = self.run_json()
        self.assertEqual((summary["exit_code"], summary["done"]), (1, 2))
        failed = self.failed_or_running()
        rejected = sorted(name for name in failed if name.startswith("inbox-"))
        self.assertEqual(len(rejected), 1, failed)
        self.assertEqual(failed["relative"]["state"], "failed", "a refused entry keeps its sender's id")
        self.assertEqual(summary["rejected"], 2)
        messages = " | ".join(self.job(name)["error"] for name in (*rejected, "relative"))
        self.assertIn("promt: unknown field", messages)
        self.assertIn("input-root", messages)
        self.assertIn("height", failed["height"]["error"]["message"])
        self.assertEqual((self.job("good")["state"], self.job("good")["video"]), ("done", "videos/good.mp4"))

        # What had failed before counts until it is retried; files alone decide where nothing new ends.
        self.assert_ended(self.run_jobs(jobs), 0)
        again = nightreel("retry", "--all", "--redis", self.url)
        self.assertEqual(again.code, 0, again.said)
        self.assertEqual(again.out.count(": pending"), 3)
        self.assert_ended(self.run_jobs("--input-root", inputs, "--failed-ok"), 0)
        self.assertEqual(self.run_json()["exit_code"], 0)
        self.assertIn("image", self.failed_or_running()["relative"]["error"]["message"])

    def test_nothing_outside_the_input_root_is_read(self):
        inputs = self.folder / "inputs"
        inputs.mkdir()
        (self.folder / "secret.png").write_bytes(b"x")
        (inputs / "link.png").symlink_to(self.folder / "secret.png")
        self.push(*({"prompt": path, "image": path}
                    for path in ("../secret.png", str(self.folder / "secret.png"), "link.png")))
        self.run_jobs("--input-root", inputs)
        errors = [job["error"]["message"] for job in self.failed_or_running().values()]
        self.assertEqual(len(errors), 3)
        for error in errors:
            self.assertIn(str(inputs), error)

    def test_max_attempts_of_the_run_and_of_the_job(self):
        death = "at=denoise:1 do=exit times=9"
        jobs = self.write_jobs(small("mine", prompt=death, max_attempts=1))
        self.assert_ended(self.run_jobs(jobs), 1)
        jobs = self.write_jobs(small("runs", prompt=death))
        self.assert_ended(self.run_jobs(jobs, "--max-attempts", "1", "--failed-ok"), 0)
        for name in ("mine", "runs"):
            self.assertEqual((self.job(name)["state"], self.job(name)["attempts"]), ("failed", "1"))
            self.assertIn("the renderer died: exit code 3", self.job(name)["error"])
        self.assertEqual(self.run_json()["jobs"][0]["state"], "failed")

    def runs_that_have_loaded(self):
        logs = [log.read_text() for log in self.out.glob("logs/*/rank-0.jsonl")]
        return sum('"loaded"' in log for log in logs)

    def test_a_job_of_a_run_that_was_killed_is_made_by_the_next_though_its_lease_still_counts(self):
        jobs = self.write_jobs(small("slow", steps=3, prompt="step_ms=1000"))
        first = program.start(self.words(jobs, "--lease", "5"))
        self.assertTrue(until(lambda: self.job("slow").get("state") == "running", 120))
        first.kill()
        program.finish(first)
        self.assert_ended(self.run_jobs(jobs, "--lease", "5"), 0)
        self.assertEqual(self.run_json()["held_elsewhere"], [])
        self.assertEqual((self.job("slow")["state"], self.job("slow")["attempts"]), ("done", "2"))
        self.assertTrue((self.out / "videos/slow.mp4").exists())

    def test_a_job_that_another_run_holds_is_waited_for_on_request_and_can_be_cancelled(self):
        endless = small("long", steps=1000, prompt="step_ms=1000")
        jobs = self.write_jobs(endless)
        first = program.start(self.words(jobs, "--lease", "3"))
        self.assertTrue(until(lambda: self.job("long").get("state") == "running", 120))
        seen = self.failed_or_running()["long"]
        self.assertEqual((seen["state"], seen["attempts"], seen["rank"]), ("running", 1, 0))
        waiting = program.start(self.words(jobs, "--wait-for-all"))
        self.assertTrue(until(lambda: self.runs_that_have_loaded() == 2, 120))
        self.assert_ended(self.run_jobs(jobs), 0)
        self.assertEqual(self.run_json()["held_elsewhere"], ["long"])
        self.assertEqual((first.poll(), waiting.poll()), (None, None))
        self.assertIn("asked", nightreel("cancel", "long", "--redis", self.url).out)
        for process in (first, waiting):  # cancelled is ended, not failed
            self.assert_ended(program.finish(process), 0)
        summary = self.run_json()
        self.assertEqual((summary["held_elsewhere"], summary["cancelled"]), ([], 1))
        self.assertEqual(self.job("long")["state"], "cancelled")
        self.assertEqual(list(self.out.glob("videos/*")), [])

    def test_a_finished_job_runs_again_for_another_out_and_higher_priority_goes_first(self):
        jobs = self.write_jobs(small("last", priority=-1), small("middle"), small("first", priority=5))
        for out in (self.out, self.folder / "second"):
            self.assert_ended(self.run_jobs(jobs, out=out), 0)
            self.assertEqual(len(list(out.glob("videos/*.mp4"))), 3)
        events = [event for _, event in self.client.xrange("nightreel:{default}:events")]
        started = [event["id"] for event in events if event["event"] == "running"]
        self.assertEqual(started, ["first", "middle", "last"] * 2)

    def test_nothing_but_overwrite_replaces_a_video(self):
        def video():
            file = (self.out / "videos/a.mp4").stat()
            return file.st_ino, file.st_mtime_ns

        def seed():
            return json.loads((self.out / "videos/a.json").read_text())["settings"]["seed"]

        mine, other = self.write_jobs(small("a")), self.write_jobs(small("a", seed=2), name="other.jsonl")
        self.assert_ended(self.run_jobs(mine), 0)
        first = video()
        self.assert_refused(self.run_jobs(other), 2, f"{other}:1: id: a", "--overwrite")
        self.client.flushall()  # the queue forgets, the folder does not
        self.assert_ended(self.run_jobs(other), 1)
        self.assertIn("another job", self.run_json()["jobs"][0]["error"]["message"])
        self.client.flushall()
        self.assert_ended(self.run_jobs(mine), 0)
        self.assertEqual((video(), seed()), (first, 1), "it was finished already")
        self.assert_ended(self.run_jobs(other, "--overwrite"), 0)
        self.assertNotEqual(video(), first)
        self.assertEqual(seed(), 2)

    def test_an_entry_that_is_no_job_is_a_failure_of_the_run(self):
        self.push({"promt": "x"})
        self.assert_ended(self.run_jobs(), 1)
        summary = self.run_json()
        self.assertEqual((summary["exit_code"], summary["failed"]), (1, 1))
        self.assertIn("promt: unknown field", summary["jobs"][0]["error"]["message"])


if __name__ == "__main__":
    program.main()
