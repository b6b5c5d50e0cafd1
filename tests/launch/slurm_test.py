"""scripts/slurm/ under a Slurm of the test's own, one node: submitted, signalled, cancelled, requeued, as an array."""
import json
import shutil
import sys
import time

from launching import BINDS, LaunchTest, SCRIPTS, SOURCE, program, side_by_side, until
import private_slurm  # after launching, which names the folder of program

HERE = ["--nodes=1", "--cpus-per-task=1", "--time=20"]
TWO_RANKS = [*HERE, "--ntasks-per-node=2", "--gpus-per-node=2"]
ONE_RANK = [*HERE, "--ntasks-per-node=1", "--gpus-per-node=1"]
# For two tasks: most of the node's CPUs, and beside them those that all other tests together ask for.
MOST_CPUS = "--cpus-per-task=80"
load_tests = side_by_side.loader(threads=5)


class OneNode(LaunchTest):
    @classmethod
    def setUpClass(cls):
        cls.slurm = private_slurm.PrivateSlurm()
        cls.addClassCleanup(cls.slurm.stop)
        cls.begin_near_the_limit()

    @classmethod
    def begin_near_the_limit(cls):
        """A job with the 300 s left at which its script asks for USR1. Slurm looks at limits every 30 s, and nothing sets
        that: the job waits for it beside the other tests."""
        cls.limited_folder = cls.slurm.folder / "limited"
        cls.limited_folder.mkdir()
        waits = cls.limited_folder / "waits"
        waits.write_text("#!/bin/sh\ntrap 'exit 75' USR1\nwhile :; do sleep 0.1; done\n")
        waits.chmod(0o755)
        cls.limited = cls.slurm.call(
            "sbatch", "--parsable", *ONE_RANK, "--time=5", SCRIPTS / "slurm/requeue.sbatch", "tonight.jsonl",
            cwd=cls.limited_folder, LAUNCH_HOME=str(SOURCE), LAUNCH_PROGRAM=str(waits),
            NIGHTREEL_OUT=str(cls.limited_folder / "out")).strip()

    def environment(self, **more):
        return super().environment(**{"LAUNCH_HOME": str(SOURCE), **more})

    def submit(self, script, *arguments, options=TWO_RANKS, **more):
        job = self.slurm.call("sbatch", "--parsable", *options, SCRIPTS / f"slurm/{script}.sbatch", *arguments,
                              cwd=self.folder, **self.environment(**more)).strip()
        self.addCleanup(self.slurm.call, "scancel", job, check=False)
        return job

    def log(self, job):
        """Of the job, or of all tasks of the array."""
        return "".join(file.read_text(errors="replace") for file in self.folder.glob(f"nightreel-{job}*.log"))

    def assert_job(self, job, state, code):
        facts = self.slurm.wait(job)
        self.assertEqual((facts["JobState"], facts["ExitCode"]), (state, f"{code}:0"), self.log(job))
        self.assertIn(f"exit code {code}, ", self.log(job))
        return facts

    def wait_for_first(self, job):
        first = self.out / "videos/first.mp4"
        self.assertTrue(until(first.exists), f"no video was made\n{self.log(job)}")

    def with_tools(self):
        """The launchers of `script` before the real ones."""
        return {"PATH": f"{self.folder}/tools:{self.slurm.environment['PATH']}"}

    def test_mpirun_inside_sbatch_told_to_finish_goes_on_when_submitted_again(self):
        jobs = self.jobs()
        job = self.submit("mpirun", jobs)
        self.wait_for_first(job)
        self.slurm.call("scancel", "--batch", "--signal=USR1", job)
        self.assert_job(job, "FAILED", 75)
        self.assertEqual(self.summaries()[-1]["exit_code"], 75)
        self.assertEqual(list(self.out.glob("checkpoints/*")), [], "one in hand was not finished")
        job = self.submit("mpirun", jobs)
        self.assert_job(job, "COMPLETED", 0)
        self.assert_each_once()
        self.assertEqual(json.loads((self.out / "videos/last.json").read_text())["launcher_job"], job)
        self.assertEqual(self.summaries()[-1]["launcher_job"], job)

    def stopped_twice(self, script):
        """TERM to the script alone, then scancel, which reaches launcher and ranks as well: each is 75 and loses nothing."""
        jobs = self.write_jobs(self.small("first"), *map(self.caught, "abcde"), self.small("last"))
        for caught, words, state in ((2, ("--batch", "--signal=TERM"), "FAILED"), (4, (), "CANCELLED")):
            job = self.submit(script, jobs)
            self.wait_for_caught(caught)
            asked = time.monotonic()
            self.slurm.call("scancel", *words, job)
            self.assertEqual(self.assert_job(job, state, 75)["Restarts"], "0")
            self.assertLess(time.monotonic() - asked, private_slurm.KILL_WAIT, "Slurm had to kill it")
        self.assertNotIn("last", self.videos())
        self.let_go("abcde")
        self.assert_job(self.submit(script, jobs), "COMPLETED", 0)
        self.assert_each_once(["first", *"abcde", "last"])
        self.assertEqual([rank["rank"] for rank in self.summaries()[-1]["ranks"]], [0, 1])

    def test_mpirun_stopped_by_term_and_by_scancel(self):
        self.stopped_twice("mpirun")

    def test_srun_with_pmix_stopped_by_term_and_by_scancel(self):
        self.stopped_twice("srun")

    def test_what_was_stopped_by_term_or_scancel_is_not_requeued(self):
        self.stopped_twice("requeue")

    def test_an_array_stopped_by_term_and_by_scancel(self):
        url = self.redis()
        self.queue = ("--redis", url)
        each = [*ONE_RANK, "--array=0-1"]
        jobs = self.write_jobs(self.small("first"), *map(self.caught, "abcde"), self.small("last"))
        for caught, words, state in ((2, ("--batch", "--signal=TERM"), "FAILED"), (4, (), "CANCELLED")):
            job = self.submit("array", jobs, options=each, REDIS_URL=url)
            self.wait_for_caught(caught)
            self.slurm.call("scancel", *words, job)
            for task in (0, 1):
                self.assert_job(f"{job}_{task}", state, 75)
        self.assertNotIn("last", self.videos())
        self.let_go("abcde")
        job = self.submit("array", jobs, options=each, REDIS_URL=url)
        for task in (0, 1):
            self.assert_job(f"{job}_{task}", "COMPLETED", 0)
        self.assert_each_once(["first", *"abcde", "last"])

    def test_an_array_of_drainers_shares_one_queue_and_one_out(self):
        each = [*ONE_RANK, "--array=0-1"]
        jobs = self.write_jobs(*(self.small(name, steps=20, prompt="step_ms=10 encode_ms=0") for name in "abcdef"))
        job = self.submit("array", jobs, options=each)
        self.assertTrue(until(lambda: self.log(job).count("set REDIS_URL") == 2), self.log(job))
        self.assertFalse(self.out.exists())
        job = self.submit("array", jobs, options=each, REDIS_URL=self.redis())
        for task in (0, 1):
            self.assert_job(f"{job}_{task}", "COMPLETED", 0)
        self.assertEqual(self.videos(), list("abcdef"))
        made = [json.loads(file.read_text())["launcher_job"] for file in self.out.glob("videos/*.json")]
        self.assertLessEqual(set(made), {f"{job}_0", f"{job}_1"})
        self.assertEqual(sum(rank["done"] for summary in self.summaries() for rank in summary["ranks"]), 6)

    def go_on(self, job, restart):
        """Waits for the requeue and lets it begin: Slurm holds a requeued job back for two minutes. It begins in a later
        second than the one in which the first start ended: slurmd tells starts apart by that."""
        def gone_further(facts):
            return int(facts["Restarts"]) > restart or facts["JobState"] in ("RUNNING", "COMPLETED", "FAILED")
        facts = self.slurm.until(job, lambda facts: int(facts["Restarts"]) >= restart and facts["JobState"] != "COMPLETING",
                                 f"requeued\n{self.log(job)}")
        if not gone_further(facts):
            self.slurm.call("scontrol", "update", f"JobId={job}", "StartTime=now+1")
        self.slurm.until(job, gone_further, "started again")

    def test_requeued_before_the_limit_it_goes_on_to_the_end(self):
        job = self.submit("requeue", self.jobs(), LAUNCH_FINISH_SECONDS="1")
        self.wait_for_first(job)
        self.slurm.call("scancel", "--batch", "--signal=USR1", job)
        self.go_on(job, 1)
        self.assert_job(job, "COMPLETED", 0)
        for line in ("requeued, restart 1", "exit code 75, "):
            self.assertIn(line, self.log(job), "the log of the first start")
        self.assert_each_once()

    def test_two_requeues_in_a_row_without_progress_are_enough(self):
        stuck = self.script("stuck", "exit 75")
        job = self.submit("requeue", "tonight.jsonl", LAUNCH_PROGRAM=str(stuck))
        for restart in (1, 2):
            self.go_on(job, restart)
        facts = self.assert_job(job, "FAILED", 75)
        self.assertEqual(facts["Restarts"], "2")
        self.assertIn("two requeues in a row got no further", self.log(job))

    def test_the_model_is_rendered_under_both_launchers(self):
        self.with_the_model()
        made = {}
        for script in ("mpirun", "srun"):
            out = self.folder / f"of-{script}"
            job = self.submit(script, self.write_jobs(self.small("a"), self.small("b")), NIGHTREEL_OUT=str(out))
            self.assert_job(job, "COMPLETED", 0)
            self.assertEqual(json.loads((out / "videos/b.json").read_text())["launcher_job"], job)
            made[script] = {file.name: file.read_bytes() for file in out.glob("videos/*.mp4")}
        self.assertEqual(len(made["srun"]), 2)
        self.assertEqual(made["mpirun"], made["srun"])

    def test_codes_of_the_run_arrive_unchanged(self):
        """All at once: every form of launch with every code but 4, and 0, which all others end with. 75: no room is left on
        the disk that it may use."""
        self.write_jobs(self.small("a"), name="good.jsonl")
        ends = ((1, [self.write_jobs(self.small("a", prompt="step_ms=0 at=denoise:1 times=9 do=fail:renderer", max_attempts=1),
                                     name="fails.jsonl")], {}),
                (2, [self.write_jobs({"promt": "x"}, name="bad.jsonl")], {}),
                (3, [self.folder / "good.jsonl"], {"NIGHTREEL_MODEL": "/nowhere"}),
                (75, [self.folder / "good.jsonl"], {"NIGHTREEL_MIN_FREE": "900TB"}))
        started, redis = [], self.redis()
        for script, options in (("mpirun", TWO_RANKS), ("srun", TWO_RANKS), ("array", [*ONE_RANK, "--array=0-0"]),
                                ("requeue", ONE_RANK)):
            for code, arguments, more in ends:
                if (script, code) == ("requeue", 75):
                    continue  # that one is requeued, which the other tests show
                if script == "array":
                    more = {**more, "REDIS_URL": redis, "NIGHTREEL_QUEUE": f"ends-{code}"}
                out = self.folder / f"{script}-{code}"
                job = self.submit(script, *arguments, options=options, **{"NIGHTREEL_OUT": str(out), **more})
                started.append((script, code, f"{job}_0" if script == "array" else job))
        for script, code, job in started:
            with self.subTest(script, code=code):
                facts = self.slurm.wait(job)
                self.assertEqual((facts["JobState"], facts["ExitCode"]), ("FAILED", f"{code}:0"), self.log(job.partition("_")[0]))

    def test_the_wrong_number_of_ranks_is_refused_under_every_form(self):
        """Launchers that start another number of ranks than the script asks for."""
        real = {name: shutil.which(name) for name in ("mpirun", "srun")}
        self.script("mpirun", f'exec {real["mpirun"]} --oversubscribe $(echo "$@" | sed "s/ -np 1 / -np 3 /; s/ -np 2 / -np 1 /")')
        self.script("srun", f'exec {real["srun"]} $(echo "$@" | sed "s/ -n 2 / -n 1 /")')
        started = []
        for script, options, part in (("mpirun", TWO_RANKS, "--expect-ranks 2, but MPI started 1 rank: "),
                                      ("srun", TWO_RANKS, "--expect-ranks 2, but MPI started 1 rank: "),
                                      ("requeue", TWO_RANKS, "--expect-ranks 2, but MPI started 1 rank: "),
                                      ("array", [*ONE_RANK, "--array=0-0"], "--expect-ranks 1, but MPI started 3 ranks: ")):
            job = self.submit(script, self.write_jobs(self.small("a")), options=options, REDIS_URL="redis://nobody.invalid",
                              **self.with_tools())
            started.append((script, f"{job}_0" if script == "array" else job, part))
        for script, job, part in started:
            with self.subTest(script):
                facts = self.slurm.wait(job)
                log = self.log(job.partition("_")[0])
                self.assertEqual((facts["JobState"], facts["ExitCode"]), ("FAILED", "3:0"), log)
                self.assertIn(part + "see the launcher's host file, -np or --ntasks", log)
        self.assertEqual(self.videos(), [])

    def test_ranks_of_an_srun_without_pmix_find_no_run(self):
        """Open MPI ends them with 1, as a run does whose jobs failed."""
        self.script("srun", "shift", f'exec {shutil.which("srun")} --mpi=none "$@"')
        job = self.submit("srun", self.write_jobs(self.small("a")), **self.with_tools())
        self.assert_job(job, "FAILED", 3)
        self.assertIn("the launcher ended with 1 before the ranks began", self.log(job))

    def test_ranks_are_bound_to_nothing(self):
        """What mpirun does is looked at. This Slurm binds nothing by itself (task/none): of srun, what it is asked for."""
        spy = str(self.spy())
        for script, options, ranks in (("mpirun", TWO_RANKS, 2), ("requeue", TWO_RANKS, 2), ("array", [*ONE_RANK, "--array=0-0"], 1)):
            with self.subTest(script):
                job = self.submit(script, "tonight.jsonl", options=options, LAUNCH_PROGRAM=spy, REDIS_URL="redis://r", **BINDS)
                self.assert_job(f"{job}_0" if script == "array" else job, "COMPLETED", 0)
                self.assert_bound_to_nothing(ranks)
        seen = self.folder / "words"
        self.script("srun", f'echo "$@" >{seen}')
        self.assert_job(self.submit("srun", "tonight.jsonl", LAUNCH_PROGRAM=spy, **self.with_tools()), "COMPLETED", 0)
        self.assertLessEqual({"--cpu-bind=none", "--gpu-bind=none", "--mpi=pmix"}, set(seen.read_text().split()))

    def test_preempted_it_gives_its_leases_back_and_goes_on_when_requeued(self):
        job = self.submit("requeue", self.jobs(), options=[*TWO_RANKS, "--partition=preemptible", MOST_CPUS])
        self.wait_for_first(job)
        urgent = self.slurm.call("sbatch", "--parsable", "--partition=urgent", "--nodes=1", "--ntasks-per-node=2", MOST_CPUS,
                                 "--wrap=true", "--output=/dev/null", cwd=self.folder).strip()
        self.go_on(job, 1)
        self.assertEqual(self.slurm.wait(urgent)["JobState"], "COMPLETED")
        self.assert_job(job, "COMPLETED", 0)
        self.assert_each_once()

    def test_the_container_forms_hand_on_the_same_command(self):
        """What stands behind an image is not here: only the command lines are shown."""
        run = " /usr/bin/nightreel run --model /models/x --out %s --expect-ranks 2 tonight.jsonl --follow\n" % self.out
        for container, image, tool, started in (
                ("apptainer", "/images/nightreel.sif", "apptainer",
                 "exec --nv --bind /models,/videos /images/nightreel.sif"),
                ("pyxis", "registry#nightreel", "srun",
                 "--mpi=pmix --gpu-bind=none --cpu-bind=none --cpus-per-task=1 -n 2 --container-image=registry#nightreel "
                 "--container-mounts=/models:/models,/videos:/videos")):
            with self.subTest(container):
                seen = self.folder / f"seen-{container}"
                self.script(tool, f'echo "$@" >>{seen}')
                job = self.submit("container", "tonight.jsonl", "--follow", LAUNCH_CONTAINER=container, LAUNCH_IMAGE=image,
                                  LAUNCH_PROGRAM="/usr/bin/nightreel", NIGHTREEL_MODEL="/models/x",
                                  **self.with_tools())
                self.assert_job(job, "COMPLETED", 0)
                self.assertEqual(set(seen.read_text().splitlines(True)), {started + run})

    def test_usr1_that_slurm_sends_before_the_limit_arrives(self):
        self.slurm.until(self.limited, lambda facts: facts["Restarts"] == "1", "requeued")
        log = (self.limited_folder / f"nightreel-{self.limited}.log").read_text()
        self.assertIn("exit code 75, ", log)
        self.assertIn("requeued, restart 1", log)


if __name__ == "__main__":
    if why := private_slurm.missing():
        print(f"skipped: {why}")
        sys.exit(77)
    program.main()
