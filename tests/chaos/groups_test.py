"""The engine itself in a group of ranks that loses one of its renderers in the middle of a video: the video is gone on
from its saved state, and is that of an undisturbed group bit for bit.
"""
import hashlib
import json
import os
import pathlib
import signal

import h5py

import fault_case
import program
from fault_case import FaultCase
from night import GROUP_SILENCE_S, environment_of, status_of

ENGINE = """#!/bin/sh
log=$(basename "$(readlink /proc/self/fd/2)" .log)
[ "$log" != renderer-1 ] || export CHAOS_MODEL='{model}'
exec '{engine}' "$@"
"""
READS = "renderer.before.open.model.safetensors"
STEPS, EVERY = 12, 4
SAVED = "renderer.after.rename.checkpoints.h5"  # the first member writes it, and stops there
GROUP = ["--ranks-per-video", 2, "--checkpoint-every", EVERY]


class GroupFaults(FaultCase):
    real_renderer = True

    def renderers(self):
        """{rank: process} of this test's."""
        found = {}
        for entry in pathlib.Path("/proc").glob("[0-9]*"):
            variables = environment_of(entry.name)
            if variables.get("CHAOS_TRAPS") != str(self.traps) or "NIGHTREEL_PARENT_PID" not in variables:
                continue
            parent, state = status_of(entry.name)
            rank = environment_of(parent).get("OMPI_COMM_WORLD_RANK")
            if rank is not None and state != "Z":
                found[int(rank)] = int(entry.name)
        return found

    def made(self, name):
        """The sha256 of video, sheet and latents (the archive has the job's name in it), and the sidecar."""
        with h5py.File(self.out / f"archive/{name}.h5") as archive:
            contents = [archive["latents"][...].tobytes()]
        contents += [(self.out / f"videos/{name}{end}").read_bytes() for end in (".mp4", ".jpg")]
        return ([hashlib.sha256(content).hexdigest() for content in contents],
                json.loads((self.out / f"videos/{name}.json").read_text()))

    def video(self, name):
        return program.small(name, steps=STEPS, height=32, width=32)

    def with_one_lost(self, name, rank, number):
        """The log of a run whose group stands still in the middle of the video when this rank's renderer is hit."""
        self.trap(SAVED, "stop")
        process = self.start_jobs([self.video(name)], *GROUP)
        first = self.went_off(SAVED)
        self.assertTrue(program.until(lambda: status_of(first)[1] == "T"))
        renderers = self.renderers()
        self.assertEqual((len(renderers), renderers[0]), (2, first))
        os.kill(renderers[rank], number)
        if rank != 0:
            os.kill(first, signal.SIGCONT)
        ended = program.finish(process)
        self.assert_ended(ended, 0)
        self.assertEqual(len(self.log()), 1)
        (self.traps / "log").unlink()
        return ended.log

    def test_a_renderer_that_is_killed_or_frozen_in_the_middle_of_a_video(self):
        self.assert_ended(self.run_jobs([self.video("quiet")], *GROUP), 0)
        expected, sidecar = self.made("quiet")
        self.assertEqual((sidecar["resumed_step"], sidecar["ranks"]), (0, 2))
        for rank in (0, 1):
            for number, how in ((signal.SIGKILL, "signal 9"), (signal.SIGSTOP, "hung: no event for ")):
                with self.subTest(rank=rank, signal=number):
                    name = f"lost-{rank}-{number}"
                    log = self.with_one_lost(name, rank, number)
                    self.assertRegex(log, rf"rank 0: renderer-died: the renderer of rank {rank} on host \S+: {how}")
                    self.assertEqual(log.count(": group: 2 render together: "), 2)
                    files, sidecar = self.made(name)
                    self.assertEqual(files, expected)
                    self.assertEqual((sidecar["resumed_step"], sidecar["attempt"], sidecar["ranks"]), (EVERY, 2, 2))
                    self.assertFalse(list((self.out / "checkpoints").iterdir()))


    def test_a_first_rank_that_publishes_to_slow_storage_keeps_its_group(self):
        point = "rank.before.fsync.videos.json.part"
        self.trap(point, "slow")
        slow = 1000 * GROUP_SILENCE_S + 5000
        ended = self.run_jobs([self.video("slow"), self.video("next")], *GROUP, env={"CHAOS_SLOW_MS": str(slow)})
        self.assert_ended(ended, 0)
        self.went_off(point)
        self.assertNotIn("left-group", ended.log)
        self.assertEqual([self.made(name)[1]["ranks"] for name in ("slow", "next")], [2, 2])
        self.assertEqual([rank["group_changes"] for rank in self.run_json()["ranks"]], [[], []])

    def with_model_points_of_renderer_1(self):
        self.program = self.copy_of_nightreel()
        engine = self.program.parent / "nightreel-engine"
        engine.write_text(ENGINE.format(model=program.SHAPES, engine=program.BUILD / "bin/nightreel-engine"))
        engine.chmod(0o755)

    def test_a_renderer_that_is_killed_while_all_load_together(self):
        self.with_model_points_of_renderer_1()
        self.trap(READS, "kill")
        ended = self.run_jobs([self.video("made")], "--load", "together", "--min-ranks", 2, "--stage-limits", "load=60s",
                              ranks=3)
        self.assert_ended(ended, 0)
        self.went_off(READS)
        self.assert_whole("made")
        logs = {file.stem: file.read_text() for file in self.out.glob("logs/*/renderer-*.log")}
        for rank in (0, 2):
            self.assertRegex(logs[f"renderer-{rank}"], "reading the weights alone, since together failed: .*"
                                                       r"rank 1 of 3 did not come within 15000 ms")
        self.assertRegex(ended.log, "rank 1: idle: this rank stays idle: .*ended while loading: signal 9")
        lost = self.run_json()["ranks"][1]
        self.assertEqual((lost["group"], lost["error"]["kind"]), ([], "renderer"))


if __name__ == "__main__":
    fault_case.main()
