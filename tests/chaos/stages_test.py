"""Renderers that hang, die and lie under `mpirun … nightreel run`: what is noticed, whom it costs an attempt, and what the
summary and the exit code say.
"""
import os
import pathlib
import signal

import fault_case
import program
import side_by_side
from fault_case import FaultCase, job

load_tests = side_by_side.loader(threads=3)
HANGS = {"text": "at=text:0", "first-step": "at=denoise:0", "later-step": "at=denoise:2", "decode": "at=decode:0",
         "encode": "at=encode:0"}
# The jobs of a run, by its queue. Past denoising each alone: whoever waits or denoises beside it would be charged, too.
# Else a rank for each, so that all hang at a time.
TOGETHER = {"denoising": ["text", "first-step", "later-step"], "decoding": ["decode"], "encoding": ["encode"]}


class Stages(FaultCase):
    queues = ("default", *TOGETHER)

    def rank_logs(self):
        return "".join(file.read_text() for file in sorted(self.out.glob("logs/*/rank-*.jsonl")))

    def test_a_renderer_that_hangs_is_noticed_at_the_limit_of_its_stage(self):
        limits = "text=6s,step=6s,decode=6s,encode=6s,publish=1h,load=1h"
        processes = [self.start_jobs([job(name, HANGS[name] + " do=hang") for name in names], "--stage-limits", limits,
                                     "--queue", queue, ranks=len(names), name=queue) for queue, names in TOGETHER.items()]
        for process in processes:
            self.assert_ended(self.finish(process), 0)
        for name, where in HANGS.items():
            stage = where[3:].partition(":")[0]
            self.assertIn(f"hung: job {name} made no progress in stage '{stage}' for ", self.rank_logs())
        attempts = {name: used for queue in TOGETHER for name, used in self.attempts(queue).items()}
        self.assertEqual(attempts, dict.fromkeys(HANGS, 2))
        self.assert_whole(*HANGS)

    def test_a_renderer_that_never_loads_ends_the_run_at_its_limit(self):
        (self.folder / "fake/load.hang").write_text("2")
        ended = self.run_jobs([job("a")], "--stage-limits", "load=1s")
        self.assert_refused(ended, 3, "no event for ", " s of loading")
        self.assert_ended(self.run_jobs([job("a")]), 0)

    def test_a_video_that_does_not_decode_gets_no_final_name_and_is_made_again(self):
        self.assert_ended(self.run_jobs([job("torn", "at=encode:0 do=tear")]), 0)
        self.assertEqual(self.attempts(), {"torn": 2})
        self.assert_whole("torn")

    def test_a_limit_that_cannot_be_is_refused(self):
        words = ["run", self.write_jobs(job("a")), "--model", program.SHAPES, "--out", self.out, "--stage-limits"]
        for given, said in (("steps=3s", "'steps' is no stage"), ("step=0s", "above zero"), ("step=", "duration")):
            self.assert_refused(program.nightreel(*words, given), 2, "--stage-limits", said)

    def test_a_job_that_kills_every_renderer_is_poison_and_the_others_are_done(self):
        ended = self.run_jobs([job("poison", "at=denoise:1 do=kill times=99"), job("a"), job("b")])
        self.assert_ended(ended, 1)
        jobs = self.status()
        self.assertEqual((jobs["poison"]["state"], jobs["poison"]["attempts"]), ("failed", 3))
        error = jobs["poison"]["error"]
        self.assertEqual(error["kind"], "renderer")
        self.assertTrue(error["message"].startswith("poison: attempt 3 of 3: the renderer died: signal 9"), error)
        log = error["message"].partition("its log ")[2].partition(" ends: ")[0]
        self.assertIn("last words", pathlib.Path(log).read_text())
        self.assertTrue(error["message"].endswith("ends: last words"), error)
        (told,) = [one for one in self.run_json()["jobs"] if one["id"] == "poison"]
        self.assertEqual(told["error"]["message"], error["message"])
        self.assert_whole("a", "b")

    def test_five_deaths_in_a_row_make_a_rank_step_down_and_the_run_says_so(self):
        jobs = [job("a", "at=text:0 do=kill"), job("b")]
        self.trap("rank.before.send.claim", "stop")  # its renderer has loaded; the next four shall not
        process = self.start_jobs(jobs, ranks=1)
        rank = self.went_off("rank.before.send.claim")
        (self.folder / "fake/load.kill").write_text("4")
        os.kill(rank, signal.SIGCONT)
        self.assert_ended(self.finish(process), 75)
        summary = self.run_json()
        self.assertEqual(summary["exit_code"], 75)
        self.assertIn("stepped down after 5 renderer deaths in a row", summary["ranks"][0]["error"]["message"])
        self.assertEqual(set(self.states().values()) - {"pending", "delayed"}, set())
        self.assert_ended(self.run_jobs(jobs), 0)
        self.assert_whole("a", "b")


if __name__ == "__main__":
    fault_case.main()
