"""The commands around the main job, and run's own flags, as a user gives them: on OUT's private queue while it rests
and while a run holds it, and on a Redis that several share.
"""
import json
import signal
import stat

import redis

import damage
import program
from program import ENDLESS, SHAPES, nightreel, small, until

FIELDS = {"id", "state", "attempts", "rank", "host", "step", "steps", "eta_s", "error"}


class OnAPrivateQueue(program.ProgramTest):
    def on_queue(self, command, *arguments, **how):
        return nightreel(command, *arguments, "--out", self.out, **how)

    def status(self, *flags):
        ended = self.on_queue("status", "--json", *flags)
        self.assert_ended(ended, 0)
        return json.loads(ended.out)

    def run_jobs(self, *arguments, model=SHAPES):
        return nightreel("run", *arguments, "--model", model, "--out", self.out, "--threads", "1")

    def test_submit_status_cancel_retry_while_the_queue_rests(self):
        self.assert_refused(self.on_queue("status"), 3, str(self.out), "no run has made a queue here yet")
        jobs = self.write_jobs(small("a"), small("b"))
        self.assertIn("2 added, 0 known already", self.on_queue("submit", jobs).out)
        self.assertIn("0 added, 2 known already", self.on_queue("submit", jobs).out)
        ended = self.on_queue("submit", "-", stdin=json.dumps(small("c")) + "\n" + json.dumps(small("a")))
        self.assertIn("1 added, 1 known already", ended.out, ended.said)
        self.assertFalse((self.out / "queue/address").exists(), "the private server rests")
        self.assertEqual(stat.S_IMODE((self.out / "queue").stat().st_mode), 0o700)

        relative = nightreel("status", "--json", "--out", "out", cwd=self.folder)
        self.assertEqual(json.loads(relative.out or "{}"), self.status(), relative.said)
        seen = self.status()
        self.assertEqual({k: v for k, v in seen.items() if v}, {"queue": "default", "pending": 3})
        everything = self.status("--all")["jobs"]
        self.assertEqual([(job["id"], job["state"], job["attempts"]) for job in everything],
                         [(name, "pending", 0) for name in "abc"])
        self.assertEqual(set(everything[0]), FIELDS)

        other = self.write_jobs(small("new"), small("a", seed=2), name="other.jsonl")
        self.assert_refused(self.on_queue("submit", other), 2, f"{other}:2: id: a", "--overwrite")
        self.assertEqual(self.status()["pending"], 3, "a refused file adds nothing")
        self.assert_ended(self.on_queue("submit", other, "--overwrite"), 0)
        self.assertEqual(self.status()["pending"], 4)

        self.assertEqual(self.on_queue("cancel", "b", "new").out, "b: cancelled\nnew: cancelled\n")
        ended = self.on_queue("cancel", "nobody", "b")
        self.assertEqual((ended.code, ended.out), (1, "nobody: unknown\nb: had ended before\n"))
        self.assertEqual(self.on_queue("retry", "b").out, "b: pending\n")
        self.assert_refused(self.on_queue("retry"), 2, "--all")

        self.assert_ended(self.run_jobs(), 0)
        self.assertEqual(sorted(file.stem for file in self.out.glob("videos/*.mp4")), ["a", "b", "c"])
        self.assertEqual(json.loads((self.out / "videos/a.json").read_text())["settings"]["seed"], 2)
        seen = self.status()
        self.assertEqual((seen["done"], seen["cancelled"], seen["jobs"]), (3, 1, []))
        self.assertIn("3 known already", self.on_queue("submit", self.write_jobs(
            small("a", seed=2), small("b"), small("c"))).out)
        self.assertEqual(self.on_queue("retry", "a").code, 1)

    def test_a_run_that_follows_shares_its_queue_and_holds_its_out(self):
        process = program.start([program.NIGHTREEL, "run", "--model", SHAPES, "--out", self.out, "--threads", "1",
                                 "--follow"])
        try:
            self.assertTrue(until((self.out / "queue/address").exists))
            self.assertEqual(stat.S_IMODE((self.out / "queue/address").stat().st_mode), 0o600)
            self.assert_refused(self.run_jobs(), 3, str(self.out), "held by `nightreel run` on host",
                                f"pid {process.pid}", "--redis")
            for name in ("a", "b"):
                self.assert_ended(self.on_queue("submit", "-", stdin=json.dumps(small(name))), 0)
                self.assertTrue(until((self.out / f"videos/{name}.mp4").exists), "a job that came later was not made")
            self.assertIsNone(process.poll(), "it waits for more")
            self.assertTrue(until(lambda: self.status()["done"] == 2))
        finally:
            process.send_signal(signal.SIGUSR1)
            ended = program.finish(process)
        self.assert_ended(ended, 0)
        self.assertEqual(self.run_json()["done"], 2)

    def test_submit_checks_what_needs_no_model_and_with_one_the_rest(self):
        jobs = self.write_jobs(small("a", height=50))
        self.assert_refused(self.on_queue("submit", jobs, "--model", SHAPES), 2, f"{jobs}:1: height", "48")
        bad = self.write_jobs(small("a"), {"promt": "x"}, name="bad.jsonl")
        self.assert_refused(self.on_queue("submit", bad), 2, f"{bad}:2: promt", "did you mean prompt?")
        self.assert_refused(self.on_queue("submit", "-", stdin='{"prompt": 1}\n'), 2, ":1: prompt")
        self.assert_refused(self.on_queue("submit", self.folder / "missing.jsonl"), 2, "missing.jsonl")
        self.assert_refused(nightreel("submit", jobs), 2, "--redis", "--out")
        self.assertFalse(self.out.exists())

    def test_a_deadline_or_a_full_disk_stops_early_and_the_same_command_goes_on(self):
        jobs = self.write_jobs(small("a"), small("b"))
        self.assert_ended(self.run_jobs(jobs, "--deadline", "0s"), 75)
        self.assertEqual(self.run_json()["exit_code"], 75)
        self.assert_ended(self.run_jobs(jobs, "--min-free", "900TB"), 75)
        self.assertEqual(self.status()["pending"], 2)

        other = self.folder / "other model"
        damage.copy(SHAPES, other)
        weights = other / damage.VAE
        damage.own(weights, weights.read_bytes()[:-1] + b"\0")
        digest = self.run_json()["model_digest"]
        self.assert_refused(self.run_jobs(jobs, model=other), 3, "queue", digest)
        self.assertEqual(self.status()["pending"], 2, "the queue is bound to its model while it holds work")

        self.assert_ended(self.run_jobs(jobs, "--deadline", "6h30m"), 0)
        self.assertEqual(self.run_json()["done"], 2)


class TheEnvironment(program.ProgramTest):
    def test_a_flag_goes_before_the_environment_and_that_before_the_config_file(self):
        url = self.redis()
        config = self.folder / "nightreel.toml"
        config.write_text('queue = "of-the-file"\n')
        environment = {"NIGHTREEL_QUEUE": "of-the-environment"}
        for words, env, expected in ((["--queue", "of-the-flag", "--config", config], environment, "of-the-flag"),
                                     (["--config", config], environment, "of-the-environment"),
                                     (["--config", config], {}, "of-the-file"), ([], {}, "default")):
            ended = nightreel("status", "--json", *words, env={**env, "REDIS_URL": url})
            self.assertEqual(json.loads(ended.out or "{}").get("queue"), expected, ended.said)
        for engine in (["--config", config, "generate"], [f"--config={config}", "generate"]):
            self.assert_refused(nightreel(*engine), 2, f"{config}: queue: no such option")
        ended = nightreel("status", "--json", env={"NIGHTREEL_VERSION": "1", "REDIS_URL": url})
        self.assertIn('"queue":"default"', ended.out, "that variable names what is installed, and asks for nothing")
        config.write_text('queu = "x"\n')
        self.assert_refused(nightreel("status", "--config", config), 2, str(config), "queu", "did you mean queue?")

    def test_what_a_run_cannot_do_without(self):
        jobs = self.write_jobs(small("a"))
        file = self.folder / "file"
        file.touch()
        for words, part in ((["--out", file], str(file)), (["--out", "/proc/nowhere"], "/proc/nowhere"),
                            (["--out", self.out, "--redis", "rediss://host"], "TLS")):
            with self.subTest(part):
                self.assert_refused(nightreel("run", jobs, "--model", SHAPES, *words), 3, part)
        alone = self.with_stand_in_engine()
        (alone.parent / "nightreel-engine").unlink()
        self.assert_refused(program.call([alone, "run", jobs, "--model", SHAPES, "--out", self.out]), 3,
                            str(alone.parent / "nightreel-engine"))

    def test_values_that_no_run_can_use(self):
        for flag, value in (("--device", "gpu"), ("--dtype", "int4"), ("--recipe", "best"), ("--deadline", "soon"),
                            ("--min-free", "much"), ("--threads", "0"), ("--crf", "52"), ("--lease", "1"),
                            ("--archive", "all"), ("--max-attempts", "0"), ("--checkpoint-every", "-1"),
                            ("--input-root", "/nowhere"), ("--expect-ranks", "0"), ("--log-format", "xml")):
            with self.subTest(flag):
                ended = nightreel("run", "--model", SHAPES, "--out", self.out, flag, value)
                self.assert_refused(ended, 2, flag)
                self.assertFalse(self.out.exists())


class OnASharedRedis(program.ProgramTest):
    def setUp(self):
        super().setUp()
        self.url = self.redis()
        self.client = redis.Redis.from_url(self.url, decode_responses=True)

    def words(self, *arguments, out=None):
        return ["run", *arguments, "--model", SHAPES, "--out", out or self.out, "--redis", self.url, "--threads", "1"]

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
        self.assert_ended(nightreel(*self.words(jobs)), 1)
        summary = self.run_json()
        self.assertEqual((summary["exit_code"], summary["done"]), (1, 2))
        failed = self.failed_or_running()
        rejected = sorted(name for name in failed if name.startswith("inbox-"))
        self.assertEqual(len(rejected), 2, failed)
        messages = " | ".join(self.job(name)["error"] for name in rejected)
        self.assertIn("promt: unknown field", messages)
        self.assertIn("input-root", messages)
        self.assertIn("height", failed["height"]["error"]["message"])
        self.assertEqual((self.job("good")["state"], self.job("good")["video"]), ("done", "videos/good.mp4"))

        # What had failed before counts until it is retried; files alone decide where nothing new ends.
        self.assert_ended(nightreel(*self.words(jobs)), 0)
        again = nightreel("retry", "--all", "--redis", self.url)
        self.assertEqual(again.code, 0, again.said)
        self.assertEqual(again.out.count(": pending"), 3)
        self.assert_ended(nightreel(*self.words("--input-root", inputs, "--failed-ok")), 0)
        self.assertEqual(self.run_json()["exit_code"], 0)
        self.assertIn("image", self.failed_or_running()["relative"]["error"]["message"])

    def test_nothing_outside_the_input_root_is_read(self):
        inputs = self.folder / "inputs"
        inputs.mkdir()
        (self.folder / "secret.png").write_bytes(b"x")
        (inputs / "link.png").symlink_to(self.folder / "secret.png")
        self.push(*({"prompt": path, "image": path}
                    for path in ("../secret.png", str(self.folder / "secret.png"), "link.png")))
        nightreel(*self.words("--input-root", inputs))
        errors = [job["error"]["message"] for job in self.failed_or_running().values()]
        self.assertEqual(len(errors), 3)
        for error in errors:
            self.assertIn(str(inputs), error)
        given = self.write_jobs({"prompt": "x", "image": "secret.png"})
        self.assert_refused(nightreel(*self.words(given, "--input-root", inputs)), 2, f"{given}:1: image", str(inputs))

    def test_max_attempts_of_the_run_and_of_the_job(self):
        program_of_death = self.with_stand_in_engine()
        jobs = self.write_jobs(small("mine", max_attempts=1))
        ended = program.call([program_of_death, *self.words(jobs)])
        self.assert_ended(ended, 1)
        jobs = self.write_jobs(small("runs"))
        ended = program.call([program_of_death, *self.words(jobs, "--max-attempts", "1", "--failed-ok")])
        self.assert_ended(ended, 0)
        for name in ("mine", "runs"):
            self.assertEqual((self.job(name)["state"], self.job(name)["attempts"]), ("failed", "1"))
            self.assertIn("the renderer died: exit code 1", self.job(name)["error"])
        self.assertEqual(self.run_json()["jobs"][0]["state"], "failed")

    def test_a_job_that_another_run_holds_is_waited_for_on_request_and_can_be_cancelled(self):
        jobs = self.write_jobs(small("long", **ENDLESS))
        first = program.start([program.NIGHTREEL, *self.words(jobs, "--lease", "3")])
        self.assertTrue(until(lambda: self.job("long").get("state") == "running"))
        seen = self.failed_or_running()["long"]
        self.assertEqual((seen["state"], seen["attempts"], seen["rank"]), ("running", 1, 0))
        waiting = program.start([program.NIGHTREEL, *self.words(jobs, "--wait-for-all")])
        self.assert_ended(nightreel(*self.words(jobs)), 0)
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
            self.assert_ended(nightreel(*self.words(jobs, out=out)), 0)
            self.assertEqual(len(list(out.glob("videos/*.mp4"))), 3)
        events = [event for _, event in self.client.xrange("nightreel:{default}:events")]
        started = [event["id"] for event in events if event["event"] == "running"]
        self.assertEqual(started, ["first", "middle", "last"] * 2)

    def test_nothing_but_overwrite_replaces_a_video(self):
        video = self.out / "videos/a.mp4"
        mine, other = self.write_jobs(small("a")), self.write_jobs(small("a", seed=2), name="other.jsonl")
        self.assert_ended(nightreel(*self.words(mine)), 0)
        first = video.read_bytes()
        self.assert_refused(nightreel(*self.words(other)), 2, f"{other}:1: id: a", "--overwrite")
        self.client.flushall()  # the queue forgets, the folder does not
        self.assert_ended(nightreel(*self.words(other)), 1)
        self.assertIn("another job", self.run_json()["jobs"][0]["error"]["message"])
        self.client.flushall()
        written = video.stat().st_mtime_ns
        self.assert_ended(nightreel(*self.words(mine)), 0)
        self.assertEqual((video.read_bytes(), video.stat().st_mtime_ns), (first, written), "it was finished already")
        self.assert_ended(nightreel(*self.words(other, "--overwrite")), 0)
        self.assertNotEqual(video.read_bytes(), first)
        self.assertEqual(json.loads((self.out / "videos/a.json").read_text())["settings"]["seed"], 2)

    def test_an_entry_that_is_no_job_is_a_failure_of_the_run(self):
        self.push({"promt": "x"})
        self.assert_ended(nightreel(*self.words()), 1)
        summary = self.run_json()
        self.assertEqual((summary["exit_code"], summary["failed"]), (1, 1))
        self.assertIn("promt: unknown field", summary["jobs"][0]["error"]["message"])


if __name__ == "__main__":
    program.main()
