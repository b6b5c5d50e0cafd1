"""Groups of ranks that render one video together, through `mpirun … nightreel run --ranks-per-video`.

The renderers are tests/rank's fake_renderer, whose jobs say in their prompts which member of a group shall do what
("at=denoise:2 do=kill who=1"); FOLDER/down-K lets renderer K fail to start, FOLDER/down-again-K after its first start.
"""
import json
import os
import pathlib
import re
import signal

import h5py
import numpy

import program
from program import BUILD, MPIRUN, SHAPES

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


class Groups(program.ProgramTest):
    def setUp(self):
        super().setUp()
        self.fake = self.folder / "fake"
        self.fake.mkdir()
        self.url = self.redis()
        self.program = self.copy_of_nightreel()
        engine = self.program.parent / "nightreel-engine"
        engine.write_text(ENGINE.format(folder=self.fake, fake=BUILD / "bin/fake_renderer"))
        engine.chmod(0o755)

    def command(self, ranks, jobs, *flags):
        path = self.write_jobs(*(program.small(name, 4, prompt=prompt) for name, prompt in jobs.items()))
        return [*MPIRUN, "-np", ranks, self.program, "run", path, "--model", SHAPES, "--out", self.out,
                "--threads", 1, "--redis", self.url, *flags]

    def status(self, queue="default"):
        said = program.nightreel("status", "--json", "--all", "--redis", self.url, "--queue", queue)
        self.assertEqual(said.code, 0, said.said)
        return {job["id"]: job for job in json.loads(said.out)["jobs"]}

    def sidecar(self, name):
        return json.loads((self.out / f"videos/{name}.json").read_text())

    def assert_whole(self, names):
        there = {file for folder in ("videos", "archive") for file in os.listdir(self.out / folder)}
        self.assertEqual(there, {f"{name}{end}" for name in names for end in (".mp4", ".json", ".jpg", ".h5")})

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

    def begun(self, queue="default"):
        return program.until(lambda: [job for job in self.status(queue).values() if job["step"]], 60)

    def test_groups_and_the_rank_that_is_left_over(self):
        jobs = {f"job{number}": "step_ms=30" for number in range(8)}
        ended = program.call(self.command(5, jobs, "--ranks-per-video", 2))
        self.assert_ended(ended, 0)
        self.assert_whole(jobs)
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
        ended = program.call(self.command(4, jobs, "--ranks-per-video", 2))
        self.assert_ended(ended, 0)
        self.assert_whole(jobs)
        self.assertEqual({name: job["attempts"] for name, job in self.status().items()},
                         {"member": 2, "first": 2, "quiet": 1})
        self.assertEqual({self.sidecar(name)["ranks"] for name in jobs}, {2})
        for member in (r"[13]", r"[02]"):
            self.assertRegex(ended.log, rf"renderer-died: the renderer of rank {member} on host \S+: .*signal 9.*last words")
        self.assertEqual(len(re.findall(r": group: 2 render together: ", ended.log)), 4)

    def test_a_member_that_stays_away_leaves_a_smaller_group(self):
        (self.fake / "down-again-1").touch()
        jobs = {"one": "at=denoise:2 do=kill who=1", "two": "step_ms=1"}
        ended = program.call(self.command(3, jobs, "--ranks-per-video", 3))
        self.assert_ended(ended, 0)
        self.assert_whole(jobs)
        self.assertEqual([one["rank"] for one in self.sidecar("one")["renderers"]], [0, 2])
        self.assertEqual(self.sidecar("one")["ranks"], 2)
        self.assertRegex(ended.log, r"rank 0: group-smaller: rank 1 on host \S+ is out of the group, .*; 2 left: rank 0 ")
        away = self.run_json()["ranks"][1]["error"]
        self.assertEqual(away["kind"], "renderer")
        self.assertIn("out of its group", away["message"])

    def test_usr1_finishes_the_videos_in_hand(self):
        jobs = {f"job{number}": "step_ms=150" for number in range(20)}
        process = program.start(self.command(4, jobs, "--ranks-per-video", 2))
        self.assertTrue(self.begun())
        process.send_signal(signal.SIGUSR1)
        self.assert_ended(program.finish(process), 75)
        states = self.status()
        done = [name for name, job in states.items() if job["state"] == "done"]
        self.assertTrue(done)
        self.assert_whole(done)
        self.assertEqual({(job["state"], job["attempts"]) for job in states.values()}, {("done", 1), ("pending", 0)})

    def test_term_to_all_ranks_and_usr1_to_one_member(self):
        for name, ask in {"term": lambda ranks: [os.kill(pid, signal.SIGTERM) for pid in ranks.values()],
                          "usr1": lambda ranks: os.kill(ranks[1], signal.SIGUSR1)}.items():
            with self.subTest(name):
                process = program.start(self.command(2, {f"{name}{number}": "step_ms=300" for number in range(5)},
                                                     "--ranks-per-video", 2, "--queue", name))
                self.assertTrue(self.begun(name))
                ask(self.ranks(2))
                self.assert_ended(program.finish(process), 75)
                self.assertEqual(self.run_json()["exit_code"], 75)
                jobs = self.status(name).values()
                self.assertLessEqual({(job["state"], job["attempts"]) for job in jobs}, {("pending", 0), ("done", 1)})
                if name == "usr1":
                    self.assertIn("done", {job["state"] for job in jobs})

    def video_of(self, name):
        return (self.out / f"videos/{name}.mp4").exists()

    @staticmethod
    def children(pid):
        return pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()

    def test_a_first_rank_that_is_frozen_is_left_and_finds_its_group_gone(self):
        # Renderer 1 stands still until its rank ends it, so the video is in the middle for as long as they are a group.
        jobs = {"asleep": "at=denoise:2 do=stop who=1", "next": "step_ms=1", "last": "step_ms=1"}
        process = program.start(self.command(2, jobs, "--ranks-per-video", 2, "--lease", 3, "--queue", "frozen"))
        self.assertTrue(self.begun("frozen"))
        ranks = self.ranks(2)
        os.kill(ranks[0], signal.SIGSTOP)
        try:
            self.assertTrue(program.until(lambda: all(map(self.video_of, jobs)), 120), self.status("frozen"))
            self.assertTrue(program.until(lambda: not self.children(ranks[1]), 60), "rank 1 looks for more")
            self.assertEqual({self.sidecar(name)["rank"] for name in jobs}, {1})
            late = self.write_jobs(program.small("late", 4, prompt="step_ms=1"), name="late.jsonl")
            submitted = program.nightreel("submit", late, "--redis", self.url, "--queue", "frozen", "--out", self.out)
            self.assert_ended(submitted, 0)
        finally:
            os.kill(ranks[0], signal.SIGCONT)
        ended = program.finish(process)
        self.assert_ended(ended, 0)
        self.assert_whole([*jobs, "late"])
        made = {name: self.sidecar(name) for name in [*jobs, "late"]}
        self.assertEqual({name: one["ranks"] for name, one in made.items()}, dict.fromkeys(made, 1))
        self.assertEqual((made["late"]["rank"], made["asleep"]["attempt"]), (0, 2))
        self.assertEqual({job["state"] for job in self.status("frozen").values()}, {"done"})
        silent = r"no sign of life of rank 0 on host \S+ for "
        self.assertRegex(ended.log, rf"rank 1: left-group: {silent}.*: this rank renders alone from now on")
        self.assertRegex(ended.log, rf"rank 0: group-smaller: rank 1 on host \S+ is out of the group, .*{silent}")
        self.assertIn("rank 0: lease-lost: asleep: ", ended.log)
        summary = self.run_json()
        self.assertEqual((summary["exit_code"], summary["done"]), (0, 4))
        first, member = summary["ranks"]
        self.assertEqual((first["error"], member["error"]), (None, None))
        self.assertEqual((first["done"], member["done"]), (1, 3))
        self.assertRegex(first["group_changes"][0], rf"rank 1 on host \S+: its rank has left the group: {silent}")
        self.assertRegex(member["group_changes"][0], rf"left its group and rendered alone: {silent}")

    def test_a_member_with_a_shard_of_the_model_renders_nothing_alone(self):
        jobs = {"asleep": "at=denoise:2 do=stop who=1"}
        process = program.start(self.command(2, jobs, "--ranks-per-video", 2, "--lease", 3, "--shard-weights"))
        self.assertTrue(self.begun())
        first = self.ranks(2)[0]
        os.kill(first, signal.SIGSTOP)
        try:
            self.assertTrue(program.until(lambda: self.said(1, "left-group"), 120))
            self.assertEqual([job["state"] for job in self.status().values() if job["state"] == "done"], [])
        finally:
            os.kill(first, signal.SIGCONT)
        ended = program.finish(process)
        self.assert_ended(ended, 0)
        self.assertEqual(self.sidecar("asleep")["rank"], 0)
        self.assertIn("this rank has a shard of the model only, and stays idle", ended.log)
        self.assertIn("left its group, and has a shard of the model only", self.run_json()["ranks"][1]["error"]["message"])

    def said(self, rank, event):
        """Whether the rank's log has the event."""
        logs = "".join(path.read_text() for path in self.out.glob(f"logs/*/rank-{rank}.jsonl"))
        return f'"{event}"' in logs

    def test_a_run_starts_with_the_renderers_that_came_up(self):
        (self.fake / "down-1").touch()
        jobs = {"one": "step_ms=1", "two": "step_ms=1"}
        ended = program.call(self.command(5, jobs, "--ranks-per-video", 2))
        self.assert_refused(ended, 3, "rank 1 on host", "ended while loading", "no device")
        ended = program.call(self.command(5, jobs, "--ranks-per-video", 2, "--min-ranks", 4))
        self.assert_ended(ended, 0)
        self.assert_whole(jobs)
        ranks = self.run_json()["ranks"]
        self.assertEqual([rank["group"] for rank in ranks], [[0], [], [2, 3], [2, 3], [4]])
        self.assertIn("no device", ranks[1]["error"]["message"])
        self.assertRegex(ended.log, "rank 1: idle: this rank stays idle: .*no device")

    def test_numbers_that_cannot_be(self):
        for flags, code, parts in (
                (["--ranks-per-video", 4], 3, ("--ranks-per-video 4", "MPI started 2 ranks", "-np or --ntasks")),
                (["--min-ranks", 3], 3, ("--min-ranks 3", "MPI started 2 ranks", "-np or --ntasks")),
                (["--ranks-per-video", 0], 2, ("--ranks-per-video",)),
                (["--ranks-per-video", -2], 2, ("--ranks-per-video",)),
                (["--min-ranks", 0], 2, ("--min-ranks",))):
            with self.subTest(flags):
                self.assert_refused(program.call(self.command(2, {"one": "step_ms=1"}, *flags)), code, *parts)


class EngineGroups(program.ProgramTest):
    """The same with the engine itself."""

    def rendered(self, ranks, *flags):
        jobs = self.write_jobs(*(program.small(name, 8, prompt=f"a {name} circle", height=48, width=32)
                                 for name in ("red", "blue")))
        out = self.folder / f"out-{ranks}"
        ended = program.call([*MPIRUN, "-np", ranks, program.NIGHTREEL, "run", jobs, "--model", SHAPES, "--out", out,
                              "--threads", 1, "--archive", "frames", *flags])
        self.assert_ended(ended, 0)
        for name in ("red", "blue"):
            self.assertEqual(json.loads((out / f"videos/{name}.json").read_text())["ranks"], ranks)
            with h5py.File(out / f"archive/{name}.h5") as archive:
                yield archive["latents"][...], archive["frames"][...].astype(int)

    def test_a_group_renders_what_one_rank_renders(self):
        alone = list(self.rendered(1))
        for ranks in (2, 3):
            for (latents, frames), (others, other_frames) in zip(
                    alone, self.rendered(ranks, "--ranks-per-video", ranks), strict=True):
                self.assertLess(numpy.linalg.norm(latents - others) / numpy.linalg.norm(latents), 2e-5)
                apart = numpy.abs(frames - other_frames)
                self.assertLessEqual(apart.max(), 1)
                self.assertLess(apart.mean(), 0.01)

    def test_a_group_that_keeps_the_weights_in_shards_renders_the_same_bits(self):
        flags = ["--ranks-per-video", 2]
        whole = list(self.rendered(2, *flags))
        (self.folder / "out-2").rename(self.folder / "whole")
        for ours, wanted in zip(self.rendered(2, *flags, "--shard-weights", "--load", "together"), whole, strict=True):
            for one, other in zip(ours, wanted, strict=True):
                numpy.testing.assert_array_equal(one, other)

    def test_weights_are_sharded_over_a_group_alone(self):
        jobs = self.write_jobs(program.small("one", 2))
        refused = program.nightreel("run", jobs, "--model", SHAPES, "--out", self.out, "--shard-weights")
        self.assert_refused(refused, 2, "--shard-weights", "--ranks-per-video 2 or more")
        for seat in ("4/4", "-1/4", "1", "1/4x", "a/b"):
            refused = program.call([program.BUILD / "bin/nightreel-engine", "render", "--shard-weights", seat])
            self.assert_refused(refused, 2, "--shard-weights", "MEMBER/SIZE")

    def bytes_read(self, *flags):
        """By all ranks."""
        out = self.folder / "-".join(["out", *flags])
        ended = program.mpirun(3, "run", "--model", SHAPES, "--out", out, "--threads", 1, *flags)
        self.assert_ended(ended, 0)
        logs = "".join(file.read_text() for file in out.glob("logs/*/rank-*.jsonl"))
        read = [int(count) for count in re.findall(r"read (\d+) bytes of weights", logs)]
        self.assertEqual(len(read), 3)
        return sum(read), logs.count("the other ranks read the rest")

    def test_weights_are_read_once_where_ranks_load_together(self):
        stored = sum(file.stat().st_size for file in SHAPES.glob("*/*.safetensors"))
        together, shared = self.bytes_read("--load", "together")
        self.assertLessEqual(together, stored)
        self.assertGreater(together, 0.9 * stored)
        self.assertEqual(shared, 3)
        alone, shared = self.bytes_read("--load", "alone", "--stage-weights", str(self.folder / "copies"))
        self.assertGreater(alone, 2.7 * stored)
        self.assertEqual(shared, 0)
        self.assertTrue(list((self.folder / "copies").iterdir()))


if __name__ == "__main__":
    program.main()
