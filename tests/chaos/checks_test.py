"""The checks of a chaos run find what they are there for."""
import hashlib
import json
import pathlib
import subprocess
import tempfile
import types
import unittest

import checks
import faults


def claim(ms, rank, attempt, job="a"):
    return {"event": "running", "id": job, "attempt": str(attempt), "rank": str(rank), "ms": ms}


def ended(ms, how, job="a"):
    return {"event": how, "id": job, "ms": ms}


def fault(ms, ranks, until=None):
    return {"ms": ms, "until_ms": until or ms, "ranks": ranks}


TWICE = [claim(1000, 2, 1), ended(5000, "lease_lost"), claim(5100, 3, 2), ended(6000, "done")]


class Launchers(unittest.TestCase):
    def test_a_launcher_that_was_killed_hits_its_ranks_until_the_last_one_is_gone(self):
        with tempfile.TemporaryDirectory() as folder, subprocess.Popen(["sleep", "1000"]) as rank:
            night = types.SimpleNamespace(processes=lambda: {rank.pid: (0, "rank")}, traps=pathlib.Path(folder))
            injector = faults.Injector(night, [])
            injector.record("mpirun_kill", "all")
            injector.run_ended()
            kill = injector.records[0]
            for _ in range(3):
                kill["until_ms"] = 0
                injector.tick(undo_all=True)
                self.assertGreater(kill["until_ms"], 0)  # it lives
            rank.kill()
            rank.wait()
            injector.tick(undo_all=True)
            kill["until_ms"] = 0
            injector.tick(undo_all=True)
            self.assertEqual(kill["until_ms"], 0)


class Checks(unittest.TestCase):
    def again(self, events, *faults):
        return checks.run_again_only_when_hit(checks.attempts_of(events), list(faults))

    def test_a_claim_that_ended_without_a_video_needs_a_fault_on_its_rank_in_its_time(self):
        self.assertEqual(self.again(TWICE, fault(2000, {2})), [])
        self.assertEqual(self.again(TWICE, fault(2000, "all")), [])
        self.assertEqual(self.again(TWICE, fault(100, {2}, until=1200)), [])
        for wrong in (fault(2000, {3}), fault(100, {2}), fault(7000, "all"), fault(2000, set())):
            self.assertEqual(len(self.again(TWICE, wrong)), 1, wrong)

    def test_what_hits_a_renderer_alone_costs_no_lease(self):
        for kind, count in (("renderer_kill", 1), ("storage_error", 1), ("rank_stop", 0)):
            self.assertEqual(len(self.again(TWICE, {**fault(2000, {2}), "kind": kind})), count, kind)

    def test_short_outages_of_redis_cost_a_lease_together_alone_none(self):
        away = [{**fault(ms, set(), ms + 900), "kind": "redis_kill"} for ms in (1500, 3000, 60000)]
        self.assertEqual(self.again(TWICE, *away[:2]), [])
        self.assertEqual(len(self.again(TWICE, away[0])), 1)
        self.assertEqual(len(self.again(TWICE, away[0], away[2])), 1)

    def test_a_job_that_goes_back_unused_may_have_been_hit_a_little_before_its_claim(self):
        given_back = [claim(3000, 2, 1), ended(3100, "released"), claim(3200, 3, 1), ended(4000, "done")]
        self.assertEqual(self.again(given_back, fault(1000, {2})), [])
        for wrong in (fault(1000, {3}), fault(3500, {2}), fault(-1000, {2})):
            self.assertEqual(len(self.again(given_back, wrong)), 1, wrong)
        charged = [{**event, "event": "delayed"} if event["event"] == "released" else event for event in given_back]
        self.assertEqual(len(self.again(charged, fault(1000, {2}))), 1)

    def test_an_attempt_that_fails_without_any_fault_is_seen(self):
        quiet = [claim(1000, 2, 1), ended(5000, "delayed"), claim(5100, 3, 2), ended(6000, "done")]
        self.assertEqual(checks.failed_since(quiet, 5050), [])
        self.assertEqual(len(checks.failed_since(quiet, 900)), 1)
        self.assertEqual(checks.failed_since([ended(5000, "delayed")], 900), [])  # it had been claimed before

    def test_one_fault_excuses_a_job_once(self):
        thrice = [claim(1000, 2, 1), ended(2000, "delayed"), claim(2010, 2, 2), ended(2020, "delayed"),
                  claim(2030, 2, 3), ended(3000, "done")]
        self.assertEqual(len(self.again(thrice, fault(2000, {2}))), 1)
        self.assertEqual(self.again(thrice, fault(1990, {2}), fault(2015, {2})), [])

    def test_a_fault_of_all_ranks_excuses_a_job_once_on_each(self):
        across = [claim(1000, 2, 1), ended(2000, "released"), claim(2010, 3, 1), ended(2020, "released"),
                  claim(2030, 1, 1), ended(3000, "done")]
        self.assertEqual(self.again(across, fault(2000, "all")), [])
        again = [*across[:4], claim(2030, 2, 1), ended(2040, "released"), claim(2050, 1, 1), ended(3000, "done")]
        self.assertEqual(len(self.again(again, fault(2000, "all"))), 1)

    def stale(self, **picture):
        seen = {"a": {"attempt": 1, "rank": 2, "published_ms": 4000, **picture}}
        return checks.none_published_stale(seen, checks.attempts_of(TWICE))

    def test_a_video_belongs_to_the_attempt_that_had_the_job_when_it_appeared(self):
        self.assertEqual(self.stale(), [])
        self.assertEqual(self.stale(attempt=2, rank=3, published_ms=5900), [])
        self.assertEqual(len(self.stale(published_ms=5500)), 1)
        self.assertEqual(len(self.stale(attempt=7)), 1)

    def test_a_set_that_changes_or_does_not_fit_together_is_seen(self):
        with tempfile.TemporaryDirectory() as folder:
            out = pathlib.Path(folder)
            (out / "videos").mkdir()
            video, sidecar = out / "videos/a.mp4", out / "videos/a.json"
            video.write_bytes(b"video")
            sha = hashlib.sha256(b"video").hexdigest()
            sidecar.write_text(json.dumps({"sha256": sha}))
            first = {"inode": video.stat().st_ino, "sha256": sha, "sidecar_sha256": sha}

            def found(**other):
                return checks.never_replaced(out, {"a": {**first, **other}}, ["a"])
            self.assertEqual(found(), [])
            self.assertEqual(checks.equal_to(lambda job: {f"videos/{job}.mp4": sha}, out, ["a"]), [])
            self.assertEqual(len(checks.equal_to(lambda job: {f"videos/{job}.mp4": 64 * "0"}, out, ["a"])), 1)
            self.assertEqual(len(checks.equal_to(lambda job: {f"videos/{job}.mp4": sha}, out, ["a", "b"])), 1)
            self.assertEqual(len(found(inode=1)), 1)
            self.assertEqual(len(found(sidecar_sha256=None)), 1)
            self.assertEqual(len(checks.never_replaced(out, {}, ["a"])), 1)
            sidecar.unlink()
            self.assertEqual(len(found()), 1)
            self.assertEqual(len(checks.decode([video])), 1)
            (out / "archive").mkdir()
            (out / "checkpoints").mkdir()
            (out / "videos/.a.mp4.3.part").touch()
            (out / "checkpoints/a.h5").touch()
            (out / "checkpoints/b.h5").touch()
            self.assertEqual(checks.litter(out), ([out / "videos/.a.mp4.3.part"], [out / "checkpoints/a.h5"]))


if __name__ == "__main__":
    unittest.main(verbosity=2)
