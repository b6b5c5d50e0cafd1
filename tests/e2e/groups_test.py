"""Groups of ranks that render one video together, through `mpirun … nightreel run --ranks-per-video`.

The renderers are tests/rank's fake_renderer, whose jobs say in their prompts which member of a group shall do what
("at=denoise:2 do=kill who=1"); FOLDER/down-K lets renderer K fail to start, FOLDER/down-again-K after its first start.
"""
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import signal
import sys
import tempfile

import h5py
import numpy

import program
from program import BUILD, MPIRUN, SHAPES

sys.path.insert(0, str(program.SOURCE / "tests/chaos"))
from fault_case import FaultCase  # noqa: E402  (found by the line above)
from night import GROUP_SILENCE_S  # noqa: E402
import side_by_side  # noqa: E402

load_tests = side_by_side.loader(threads=3)
PAIRS = ["--ranks-per-video", 2]
# Ranks of a group bear so long a silence of each other with it, and no machine is so slow that one is lost by itself.
LEASE = ["--lease", GROUP_SILENCE_S]
LATE = ("late0", "late1", "late2")
MANY = 100  # that no group renders while a test looks on

ENGINE = """#!/bin/sh
log=$(basename "$(readlink /proc/self/fd/2)" .log)
rank=${{log#renderer-}}
if [ -e '{folder}'/down-$rank ] || {{ [ -e '{folder}'/started-$rank ] && [ -e '{folder}'/down-again-$rank ]; }}; then
  echo 'no device' >&2
  exit 3
fi
: > '{folder}'/started-$rank
exec '{fake}' '{folder}'
"""


def videos(prompts):
    return [program.small(name, 4, prompt=prompt) for name, prompt in prompts.items()]


class Groups(FaultCase):
    queues = ("default", "term", "usr1")

    def with_fake_renderer(self):
        self.fake = self.folder / "fake"
        self.fake.mkdir()
        copy = self.copy_of_nightreel()
        engine = copy.parent / "nightreel-engine"
        engine.write_text(ENGINE.format(folder=self.fake, fake=BUILD / "bin/fake_renderer"))
        engine.chmod(0o755)
        return copy

    def sidecar(self, name):
        return json.loads((self.out / f"videos/{name}.json").read_text())

    def ranks(self, count):
        """Process ids by rank, as the launcher numbered them."""
        found = {}
        for entry in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                variables = (entry / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            rank = [one.partition(b"=")[2] for one in variables if one.startswith(b"OMPI_COMM_WORLD_RANK=")]
            if rank and words[0] == str(self.program).encode():
                found[int(rank[0])] = int(entry.name)
        self.assertEqual(len(found), count)
        return found

    def test_groups_and_the_rank_that_is_left_over(self):
        jobs = {f"job{number}": "step_ms=30" for number in range(8)}
        ended = self.run_jobs(videos(jobs), *PAIRS, ranks=5)
        self.assert_ended(ended, 0)
        self.assert_whole(*jobs)
        for name in jobs:
            made = self.sidecar(name)
            together = {0: [0, 1], 2: [2, 3], 4: [4]}[made["rank"]]
            self.assertEqual(([one["rank"] for one in made["renderers"]], made["ranks"]), (together, len(together)))
        summary = self.run_json()
        self.assertEqual([rank["group"] for rank in summary["ranks"]], [[0, 1], [0, 1], [2, 3], [2, 3], [4]])
        self.assertEqual({rank["error"] for rank in summary["ranks"]}, {None})
        self.assertEqual([rank["done"] for rank in summary["ranks"]][1::2], [0, 0])
        self.assertRegex(ended.log, r"rank 3: member: member of the group led by rank 2 on host ")

    def test_a_group_that_loses_a_renderer_forms_again(self):
        jobs = {"member": "at=denoise:2 do=kill who=1", "first": "at=denoise:3 do=kill", "quiet": "step_ms=1"}
        ended = self.run_jobs(videos(jobs), *PAIRS, ranks=4)
        self.assert_ended(ended, 0)
        self.assert_whole(*jobs)
        self.assertEqual(self.attempts(), {"member": 2, "first": 2, "quiet": 1})
        self.assertEqual({self.sidecar(name)["ranks"] for name in jobs}, {2})
        for member in (r"[13]", r"[02]"):
            self.assertRegex(ended.log, rf"renderer-died: the renderer of rank {member} on host \S+: .*signal 9.*last words")
        self.assertEqual(len(re.findall(r": group: 2 render together: ", ended.log)), 4)

    def test_a_member_that_stays_away_leaves_a_smaller_group(self):
        (self.fake / "down-again-1").touch()
        jobs = {"one": "at=denoise:2 do=kill who=1", "two": "step_ms=1"}
        ended = self.run_jobs(videos(jobs), "--ranks-per-video", 3, ranks=3)
        self.assert_ended(ended, 0)
        self.assert_whole(*jobs)
        self.assertEqual([one["rank"] for one in self.sidecar("one")["renderers"]], [0, 2])
        self.assertEqual(self.sidecar("one")["ranks"], 2)
        self.assertRegex(ended.log, r"rank 0: group-smaller: rank 1 on host \S+ is out of the group, .*; 2 left: rank 0 ")
        away = self.run_json()["ranks"][1]["error"]
        self.assertEqual(away["kind"], "renderer")
        self.assertIn("out of its group", away["message"])

    def test_usr1_finishes_the_videos_in_hand(self):
        jobs = {f"job{number}": "step_ms=150" for number in range(MANY)}
        process = self.start_jobs(videos(jobs), *PAIRS, ranks=4)
        self.assertTrue(self.begun())
        process.send_signal(signal.SIGUSR1)
        self.assert_ended(self.finish(process), 75)
        states = self.status()
        done = [name for name, job in states.items() if job["state"] == "done"]
        self.assertTrue(done)
        self.assert_whole(*done)
        self.assertEqual({(job["state"], job["attempts"]) for job in states.values()}, {("done", 1), ("pending", 0)})

    def test_term_to_all_ranks_and_usr1_to_one_member(self):
        for name, ask in {"term": lambda ranks: [os.kill(pid, signal.SIGTERM) for pid in ranks.values()],
                          "usr1": lambda ranks: os.kill(ranks[1], signal.SIGUSR1)}.items():
            with self.subTest(name):
                jobs = {f"{name}{number}": "step_ms=300" for number in range(MANY)}
                process = self.start_jobs(videos(jobs), *PAIRS, "--queue", name)
                self.assertTrue(self.begun(f"nightreel:{{{name}}}:"))
                ask(self.ranks(2))
                self.assert_ended(self.finish(process), 75)
                self.assertEqual((self.stopped_json() or {"exit_code": 75})["exit_code"], 75)
                jobs = self.status(name).values()
                self.assertLessEqual({(job["state"], job["attempts"]) for job in jobs}, {("pending", 0), ("done", 1)})
                if name == "usr1":
                    self.assertIn("done", {job["state"] for job in jobs})

    def video_of(self, name):
        return (self.out / f"videos/{name}.mp4").exists()

    def holders(self):
        """Ranks that have jobs in hand."""
        return {job["rank"] for job in self.status().values() if job["state"] == "running"}

    def test_a_first_rank_that_is_frozen_is_left_and_finds_its_group_gone(self):
        # Renderer 1 stands still until its rank ends it, so the video is in the middle for as long as they are a group.
        jobs = {"asleep": "at=denoise:2 do=stop who=1", "next": "step_ms=1", "last": "step_ms=1"}
        process = self.start_jobs(videos(jobs), *PAIRS, *LEASE)
        self.assertTrue(self.begun())
        ranks = self.ranks(2)
        os.kill(ranks[0], signal.SIGSTOP)
        try:
            self.assertTrue(program.until(lambda: all(map(self.video_of, jobs)), 120), self.status())
            self.assertEqual({self.sidecar(name)["rank"] for name in jobs}, {1})
            # What rank 1 has in hand waits for "go", so that something is left for rank 0.
            late = self.write_jobs(*videos(dict.fromkeys(LATE, "until=go")), name="late.jsonl")
            submitted = program.nightreel("submit", late, "--redis", self.url, "--out", self.out)
            self.assert_ended(submitted, 0)
            self.assertTrue(program.until(lambda: 1 in self.holders(), 60), self.status())
        finally:
            os.kill(ranks[0], signal.SIGCONT)
        self.assertTrue(program.until(lambda: 0 in self.holders(), 120), self.status())
        (self.fake / "go").touch()
        ended = self.finish(process)
        self.assert_ended(ended, 0)
        self.assert_whole(*jobs, *LATE)
        made = {name: self.sidecar(name) for name in [*jobs, *LATE]}
        self.assertEqual({name: one["ranks"] for name, one in made.items()}, dict.fromkeys(made, 1))
        self.assertEqual({made[name]["rank"] for name in LATE}, {0, 1})
        self.assertEqual(made["asleep"]["attempt"], 2)
        self.assertEqual(set(self.states().values()), {"done"})
        silent = r"no sign of life of rank 0 on host \S+ for "
        self.assertRegex(ended.log, rf"rank 1: left-group: {silent}.*: this rank renders alone from now on")
        self.assertRegex(ended.log, rf"rank 0: group-smaller: rank 1 on host \S+ is out of the group, .*{silent}")
        self.assertIn("rank 0: lease-lost: asleep: ", ended.log)
        summary = self.run_json()
        self.assertEqual((summary["exit_code"], summary["done"]), (0, 6))
        first, member = summary["ranks"]
        self.assertEqual((first["error"], member["error"]), (None, None))
        self.assertEqual(first["done"] + member["done"], 6)
        self.assertRegex(first["group_changes"][0], rf"rank 1 on host \S+: its rank has left the group: {silent}")
        self.assertRegex(member["group_changes"][0], rf"left its group and rendered alone: {silent}")

    def test_a_member_with_a_shard_of_the_model_renders_nothing_alone(self):
        process = self.start_jobs(videos({"asleep": "at=denoise:2 do=stop who=1"}), *PAIRS, *LEASE, "--shard-weights")
        self.assertTrue(self.begun())
        first = self.ranks(2)[0]
        os.kill(first, signal.SIGSTOP)
        try:
            self.assertTrue(program.until(lambda: self.said(1, "left-group"), 120))
            self.assertNotIn("done", self.states().values())
        finally:
            os.kill(first, signal.SIGCONT)
        ended = self.finish(process)
        self.assert_ended(ended, 0)
        self.assertEqual(self.sidecar("asleep")["rank"], 0)
        self.assertIn("this rank has a shard of the model only, and stays idle", ended.log)
        self.assertIn("left its group, and has a shard of the model only", self.run_json()["ranks"][1]["error"]["message"])

    def said(self, rank, event):
        """Whether the rank's log has the event."""
        logs = "".join(path.read_text() for path in self.out.glob(f"logs/*/rank-{rank}.jsonl"))
        return f'"{event}"' in logs

    def test_a_first_rank_that_publishes_to_slow_storage_keeps_its_group(self):
        point = "rank.before.fsync.videos.json.part"
        self.trap(point, "slow")
        ended = self.run_jobs(videos({"slow": "step_ms=1", "next": "step_ms=1"}), *PAIRS, *LEASE,
                              env={"CHAOS_SLOW_MS": str(1000 * (GROUP_SILENCE_S + 3))})
        self.assert_ended(ended, 0)
        self.assertEqual([row[1] for row in self.log()], [point])
        self.assertNotIn("left-group", ended.log)
        self.assertEqual([self.sidecar(name)["ranks"] for name in ("slow", "next")], [2, 2])
        self.assertEqual([rank["group_changes"] for rank in self.run_json()["ranks"]], [[], []])

    def test_a_run_starts_with_the_renderers_that_came_up(self):
        (self.fake / "down-1").touch()
        jobs = {"one": "step_ms=1", "two": "step_ms=1"}
        ended = self.run_jobs(videos(jobs), *PAIRS, ranks=2)
        self.assert_refused(ended, 3, "rank 1 on host", "ended while loading", "no device")
        ended = self.run_jobs(videos(jobs), *PAIRS, "--min-ranks", 4, ranks=5)
        self.assert_ended(ended, 0)
        self.assert_whole(*jobs)
        ranks = self.run_json()["ranks"]
        self.assertEqual([rank["group"] for rank in ranks], [[0], [], [2, 3], [2, 3], [4]])
        self.assertIn("no device", ranks[1]["error"]["message"])
        self.assertRegex(ended.log, "rank 1: idle: this rank stays idle: .*no device")

    def test_numbers_that_cannot_be(self):
        jobs = videos({"one": "step_ms=1"})
        for flags, parts in (
                (["--ranks-per-video", 4], ("--ranks-per-video 4", "MPI started 2 ranks", "-np or --ntasks")),
                (["--min-ranks", 3], ("--min-ranks 3", "MPI started 2 ranks", "-np or --ntasks"))):
            with self.subTest(flags):
                self.assert_refused(self.run_jobs(jobs, *flags), 3, *parts)
        for flags in (["--ranks-per-video", 0], ["--ranks-per-video", -2], ["--min-ranks", 0]):
            with self.subTest(flags):  # before MPI starts
                words = self.command(jobs, *flags)
                self.assert_refused(program.call(words[words.index(self.program):]), 2, flags[0])


class EngineGroups(program.ProgramTest):
    """The same with the engine itself. Some runs, which the tests look at from several sides."""

    NAMES = ("red", "blue")
    RUNS = {"alone": [1], "whole": [2, *PAIRS, "--load", "alone"],
            "sharded": [2, *PAIRS, "--load", "together", "--shard-weights"],
            "three": [3, "--ranks-per-video", 3, "--load", "together"]}

    @classmethod
    def setUpClass(cls):
        cls.all = pathlib.Path(tempfile.mkdtemp(prefix="nightreel-e2e-"))
        cls.addClassCleanup(shutil.rmtree, cls.all)
        jobs = cls.all / "jobs.jsonl"
        jobs.write_text("".join(json.dumps(program.small(name, 8, prompt=f"a {name} circle", height=48, width=32)) + "\n"
                                for name in cls.NAMES))

        def run(name):
            ranks, *flags = cls.RUNS[name]
            if name == "whole":
                flags += ["--stage-weights", cls.all / "copies"]
            return program.call([*MPIRUN, "-np", ranks, program.NIGHTREEL, "run", jobs, "--model", SHAPES, "--out",
                                 cls.all / name, "--threads", 1, "--archive", "frames", *flags], timeout=300)
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            cls.ended = dict(zip(cls.RUNS, pool.map(run, cls.RUNS)))

    def rendered(self, name):
        """[(latents, frames)] of a run's videos."""
        self.assert_ended(self.ended[name], 0)
        for video in self.NAMES:
            self.assertEqual(json.loads((self.all / name / f"videos/{video}.json").read_text())["ranks"], self.RUNS[name][0])
            with h5py.File(self.all / name / f"archive/{video}.h5") as archive:
                yield archive["latents"][...], archive["frames"][...].astype(int)

    def test_a_group_renders_what_one_rank_renders(self):
        alone = list(self.rendered("alone"))
        for name in ("whole", "three"):
            for (latents, frames), (others, other_frames) in zip(alone, self.rendered(name), strict=True):
                self.assertLess(numpy.linalg.norm(latents - others) / numpy.linalg.norm(latents), 2e-5)
                apart = numpy.abs(frames - other_frames)
                self.assertLessEqual(apart.max(), 1)
                self.assertLess(apart.mean(), 0.01)

    def test_a_group_that_keeps_the_weights_in_shards_renders_the_same_bits(self):
        for ours, wanted in zip(self.rendered("sharded"), self.rendered("whole"), strict=True):
            for one, other in zip(ours, wanted, strict=True):
                numpy.testing.assert_array_equal(one, other)

    def test_weights_are_sharded_over_a_group_alone(self):
        jobs = self.write_jobs(program.small("one", 2))
        refused = program.nightreel("run", jobs, "--model", SHAPES, "--out", self.out, "--shard-weights")
        self.assert_refused(refused, 2, "--shard-weights", "--ranks-per-video 2 or more")
        for seat in ("4/4", "-1/4", "1", "1/4x", "a/b"):
            refused = program.call([program.BUILD / "bin/nightreel-engine", "render", "--shard-weights", seat])
            self.assert_refused(refused, 2, "--shard-weights", "MEMBER/SIZE")

    def bytes_read(self, name):
        """By all ranks of a run."""
        self.assert_ended(self.ended[name], 0)
        logs = "".join(file.read_text() for file in self.all.glob(f"{name}/logs/*/rank-*.jsonl"))
        read = [int(count) for count in re.findall(r"read (\d+) bytes of weights", logs)]
        self.assertEqual(len(read), self.RUNS[name][0])
        return sum(read), logs.count("the other ranks read the rest")

    def test_weights_are_read_once_where_ranks_load_together(self):
        stored = sum(file.stat().st_size for file in SHAPES.glob("*/*.safetensors"))
        together, shared = self.bytes_read("three")
        self.assertLessEqual(together, stored)
        self.assertGreater(together, 0.9 * stored)
        self.assertEqual(shared, 3)
        alone, shared = self.bytes_read("whole")
        self.assertGreater(alone, 1.8 * stored)
        self.assertEqual(shared, 0)
        self.assertTrue(list((self.all / "copies").iterdir()))


if __name__ == "__main__":
    program.main()
