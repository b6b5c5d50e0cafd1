"""scripts/mpirun/run.sh with two ranks on this host: every exit code arrives, and a signal to the script loses nothing."""
import os
import shutil
import signal
import time

from launching import BINDS, LaunchTest, MADE, SCRIPTS, finish, program, side_by_side, until

RUN = SCRIPTS / "mpirun/run.sh"
load_tests = side_by_side.loader(threads=4)


class BareMetal(LaunchTest):
    def setUp(self):
        super().setUp()
        self.hosts = self.folder / "hosts"
        self.hosts.write_text("# this host\nlocalhost slots=2\n")

    def environment(self, **more):
        return super().environment(**{"LAUNCH_HOSTFILE": str(self.hosts), **more})

    def assert_said(self, ended, code, *parts):
        self.assert_ended(ended, code)
        for part in (f"run.sh: exit code {code}, ", *parts):
            self.assertIn(part, ended.log)

    def test_term_gives_75_and_the_same_command_goes_on(self):
        command = [RUN, self.jobs()]
        process = self.start(*command)
        self.wait_for_first(process)
        process.send_signal(signal.SIGTERM)
        ended = finish(process)
        (summary,) = self.summaries()
        self.assert_said(ended, 75, "work is left", f"{self.out}/runs/{summary['run']}.json")
        self.assertEqual(summary["exit_code"], 75)
        self.assertLess(len(self.videos()), len(MADE))

        written = {name: (self.out / f"videos/{name}.mp4").stat().st_mtime_ns for name in self.videos()}
        self.assert_said(self.call(*command), 0)
        self.assert_each_once()
        for name, at in written.items():
            self.assertEqual((self.out / f"videos/{name}.mp4").stat().st_mtime_ns, at)

    def test_killed_without_a_word_it_goes_on_to_the_last_video(self):
        """At once: the leases of the dead have not run out, and their jobs are waited for."""
        jobs = self.write_jobs(self.small("first"), *map(self.caught, "abc"), self.small("last"))
        process = self.start(RUN, jobs, NIGHTREEL_LEASE="5")
        self.wait_for_caught(2)
        self.end(process)
        self.let_go("abc")
        self.assertTrue(until(lambda: not self.ranks()), "ranks outlive their mpirun")
        ended = self.call(RUN, jobs, NIGHTREEL_LEASE="5")
        self.assert_said(ended, 0)
        self.assertEqual(self.videos(), ["a", "b", "c", "first", "last"])
        self.assertEqual(self.summaries()[-1]["held_elsewhere"], [])

    def test_what_stops_at_once_waits_for_no_video(self):
        """TERM to the script, and an interrupt from the terminal, which reaches mpirun too, while videos stand still."""
        jobs = self.write_jobs(*map(self.caught, "abcde"))
        for caught, stop in ((2, lambda process: process.send_signal(signal.SIGTERM)),
                             (4, lambda process: os.killpg(process.pid, signal.SIGINT))):
            with self.subTest(caught):
                process = self.start(RUN, jobs)
                self.wait_for_caught(caught)
                stop(process)
                self.assert_said(finish(process), 75)
                self.assertEqual(self.summaries()[-1]["exit_code"], 75)

    def test_usr1_finishes_the_videos_in_hand(self):
        process = self.start(RUN, self.jobs())
        self.assertTrue(until(self.begun), "no long one was begun")
        in_hand = self.begun()
        process.send_signal(signal.SIGUSR1)
        self.assert_said(finish(process), 75)
        self.assertLessEqual(in_hand, set(self.videos()))
        self.assertEqual({"first", *self.begun()}, {"first", *self.videos()})
        self.assertNotIn("last", self.videos())
        self.assertEqual(list(self.out.glob("checkpoints/*")), [], "one in hand was not finished")

    def test_usr1_with_a_limit_stops_what_is_not_finished_by_then(self):
        """Videos that stand still: without the limit the run would not end."""
        process = self.start(RUN, self.write_jobs(*map(self.caught, "abc")), LAUNCH_FINISH_SECONDS="4")
        self.wait_for_caught(2)
        asked = time.monotonic()
        process.send_signal(signal.SIGUSR1)
        self.assert_said(finish(process), 75)
        self.assertGreater(time.monotonic() - asked, 4)

    def test_a_signal_before_anything_is_up(self):
        process = self.start(RUN, self.jobs())
        time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        self.assertIn(finish(process).code, (75, -signal.SIGTERM))

    def test_codes_of_the_run_arrive_unchanged(self):
        bad = self.write_jobs({"promt": "x"}, name="bad.jsonl")
        self.assert_said(self.call(RUN, bad), 2, "promt")
        fails = self.write_jobs(self.small("a", prompt="step_ms=0 at=denoise:1 times=9 do=fail:renderer", max_attempts=1),
                                name="fails.jsonl")
        self.assert_said(self.call(RUN, fails), 1, "some jobs failed for good")
        good = self.write_jobs(self.small("b"), name="good.jsonl")
        self.assert_said(self.call(RUN, good, NIGHTREEL_MODEL="/nowhere"), 3, "/nowhere")
        self.assert_said(self.call(RUN, good, NIGHTREEL_MIN_FREE="900TB"), 75, "--min-free")
        self.assert_said(self.call(RUN, good, LAUNCH_RANKS="1", LAUNCH_MPIRUN_OPTIONS="-np 2"), 3, "--expect-ranks 1")
        self.assertEqual(self.videos(), [])

    def test_ranks_are_bound_to_nothing(self):
        self.assert_said(self.call(RUN, "tonight.jsonl", LAUNCH_PROGRAM=str(self.spy()), **BINDS), 0)
        self.assert_bound_to_nothing(2)

    def test_a_host_that_does_not_answer_is_no_failed_job(self):
        """mpirun ends with 1 then, as a run does whose jobs failed."""
        self.hosts.write_text("elsewhere.invalid slots=2\n")
        ended = self.call(RUN, self.write_jobs(self.small("a")), LAUNCH_MPIRUN_OPTIONS="--mca plm_rsh_agent false")
        self.assert_said(ended, 3, "the launcher ended with 1 before the ranks began")

    def test_what_is_missing_is_named(self):
        missing = self.folder / "missing"
        few = self.folder / "few"
        few.mkdir()
        for name in ("dirname", "basename"):
            (few / name).symlink_to(shutil.which(name))
        for changed, code, part in (({"LAUNCH_HOSTFILE": str(missing)}, 3, str(missing)),
                                    ({"LAUNCH_HOSTFILE": "", "LAUNCH_RANKS": "two"}, 2, "LAUNCH_RANKS"),
                                    ({"LAUNCH_PROGRAM": str(missing)}, 3, "LAUNCH_PROGRAM"),
                                    ({"PATH": str(few)}, 3, "mpirun")):
            with self.subTest(part):
                ended = self.call(RUN, **changed)
                self.assertEqual(ended.code, code, ended.said)
                self.assertIn(part, ended.log)


if __name__ == "__main__":
    program.main()
