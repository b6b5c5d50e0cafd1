"""Storage that fails under `mpirun … nightreel run`: a job is tried again or failed with the reason, nothing half done
stands under a final name, and a rank that cannot write claims no more. The faults are those of fault_points.cpp.
"""
import os
import signal

import fault_case
import program
import side_by_side
from fault_case import FaultCase, job

load_tests = side_by_side.loader(threads=3)
TRIES = 1000  # of a job: a rank fails it until the test has seen what it waits for
# Where an operation fails once, how, and whether that costs an attempt. A link or rename that reports an error but
# happened counts as done.
ONCE = [
    ("rank.before.open.videos.json.part", "enospc", 1), ("rank.before.write.videos.json.part", "enospc", 1),
    ("rank.before.fsync.videos.json.part", "eio", 1), ("rank.before.close.videos.json.part", "did-eio", 1),
    ("rank.before.rename.videos.json.part", "eio", 1), ("rank.before.rename.videos.json.part", "did-eio", 0),
    ("rank.before.rename.archive.h5", "enospc", 1), ("rank.before.rename.archive.h5", "did-eio", 0),
    ("rank.before.rename.videos.jpg", "erofs", 1), ("rank.before.link.videos.json", "did-eio", 0),
    ("rank.before.link.videos.mp4", "eio", 1), ("rank.before.link.videos.mp4", "did-eio", 0),
    ("rank.before.unlink.videos.mp4.part", "eio", 0),
    ("renderer.before.write.archive.h5.part", "enospc", 1), ("renderer.before.fsync.archive.h5.part", "eio", 1),
    ("renderer.before.close.archive.h5.part", "did-eio", 1), ("renderer.before.rename.archive.h5.part", "eio", 1),
    ("renderer.before.rename.archive.h5.part", "did-eio", 0)]


def rounds(rows):
    """{point: traps, one after the other} of what may be set at once: a file whose writing failed is closed, without a
    look at how. Of two rows at a point the first costs an attempt: somebody comes by again."""
    out = []
    for closing in (False, True):
        traps = {}
        for point, action, _ in rows:
            if (".close." in point) == closing:
                traps[point] = f"{traps[point]} then {action}" if point in traps else action
        out.append(traps)
    return out


class Storage(FaultCase):
    def test_an_operation_that_fails_once_costs_one_attempt_at_most(self):
        names = []
        for number, traps in enumerate(rounds(ONCE)):
            for point, actions in traps.items():
                self.trap(point, actions)
            mine = [f"round-{number}-{index}" for index in range(4)]
            names += mine
            ended = self.run_jobs([job(name, max_attempts=TRIES) for name in mine])
            self.assert_ended(ended, 0)
            used = self.attempts()
            costs = sum(cost for point, _, cost in ONCE if point in traps)
            self.assertEqual(sum(used[name] - 1 for name in mine), costs, ended.said)
        self.assertEqual(sorted((point, action) for _, point, action in self.log()), sorted(row[:2] for row in ONCE))
        for left in (self.out / "videos").glob(".*.part"):  # the name that could not be removed
            left.unlink()
        self.assert_whole(*names)

    def test_a_job_whose_files_cannot_be_written_fails_with_the_reason_and_the_others_are_done(self):
        self.trap("renderer.before.fsync.archive.h5.part", "eio always")
        ended = self.run_jobs([job("a", max_attempts=2), job("b", max_attempts=1)])
        self.assert_ended(ended, 1)
        self.assertEqual(self.attempts(), {"a": 2, "b": 1})
        error = self.status()["a"]["error"]
        self.assertEqual(error["kind"], "storage")
        for part in ("cannot fsync", "/archive/", os.strerror(5)):
            self.assertIn(part, error["message"])
        self.assert_whole()

    def test_ranks_that_cannot_write_stop_and_the_night_goes_on_when_they_can(self):
        jobs = [job(f"job-{number}", max_attempts=TRIES) for number in range(6)]
        self.trap("rank.before.open.videos.json.part", "erofs always")
        process = self.start_jobs(jobs)
        # At its start a rank writes such a file, too: before it opens its log.
        self.assertTrue(program.until(lambda: len(list(self.out.glob("logs/*/rank-*.jsonl"))) == 2, 60))
        self.trap("rank.before.open.videos.probe", "erofs always")
        ended = self.finish(process)
        self.assert_ended(ended, 3)
        self.assertEqual([point for _, point, _ in self.log()].count("rank.before.open.videos.probe"), 2, "once a rank")
        for rank in self.run_json()["ranks"]:
            self.assertEqual(rank["error"]["kind"], "storage")
            self.assertIn(os.strerror(30), rank["error"]["message"])
        self.assertNotIn("failed", self.states().values())
        self.assert_whole()
        self.untrap("rank.before.open.videos.json.part")
        self.untrap("rank.before.open.videos.probe")
        self.assert_ended(self.run_jobs(jobs), 0)
        self.assert_whole(*(one["id"] for one in jobs))

    def test_an_out_that_cannot_be_written_is_an_error_before_anything_is_added(self):
        self.trap("rank.before.open.videos.probe", "erofs always")
        ended = self.run_jobs([job("a")])
        self.assert_refused(ended, 3, "rank 0 on host", "rank 1 on host", "/videos/", os.strerror(30))
        self.assertEqual(ended.log.count("nightreel: "), 1, "what the ranks agree on one of them says")
        self.assertEqual(self.status(), {})

    def test_a_rank_that_cannot_write_leaves_the_work_to_the_others(self):
        jobs = [job(f"job-{number}", max_attempts=TRIES) for number in range(4)]
        self.trap("rank1.before.open.videos.json.part", "enospc always")
        self.trap("rank0.before.send.claim", "stop")  # until rank 1 has stopped
        process = self.start_jobs(jobs)
        self.assertTrue(program.until(lambda: len(list(self.out.glob("logs/*/rank-*.jsonl"))) == 2, 60))
        self.trap("rank1.before.open.videos.probe", "enospc always")
        self.went_off("rank1.before.open.videos.probe")
        os.kill(self.went_off("rank0.before.send.claim"), signal.SIGCONT)
        self.assert_ended(self.finish(process), 3)
        errors = [rank["error"] for rank in self.run_json()["ranks"]]
        self.assertIsNone(errors[0])
        self.assertIn(os.strerror(28), errors[1]["message"])
        self.assertEqual(set(self.states().values()), {"done"})
        self.assert_whole(*(one["id"] for one in jobs))

    def test_slow_storage_costs_time_and_no_attempt(self):
        """Whoever waits for it, the lease is renewed: it never comes to its end."""
        points = ["renderer.before.fsync.archive.h5.part", "rank.before.fsync.videos.json.part",
                  "rank.before.rename.archive.h5", "rank.before.link.videos.mp4"]
        for point in points:
            self.trap(point, "hold")
        process = self.start_jobs([job("a")], "--lease", 9, "--min-free", "1MB", ranks=1)
        for point in points:
            self.went_off(point)
            end = self.lease_end("a")
            self.assertTrue(program.until(lambda end=end: (self.lease_end("a") or 0) > end, 60), f"renewed at {point}")
            self.let_go(point)
        self.assert_ended(self.finish(process), 0)
        self.assertEqual(sorted(point for _, point, _ in self.log()), sorted(points))
        self.assertEqual(self.attempts(), {"a": 1})
        self.assert_whole("a")

    def test_too_little_space_for_min_free_claims_nothing_and_says_so(self):
        ended = self.run_jobs([job("a")], "--min-free", "4000TB")
        self.assert_ended(ended, 75)
        self.assertEqual(self.states(), {"a": "pending"})
        for rank in self.run_json()["ranks"]:
            self.assertIn("less than --min-free is left", rank["error"]["message"])


if __name__ == "__main__":
    fault_case.main()
