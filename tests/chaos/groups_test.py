"""The engine itself in a group of ranks that loses one of its renderers: in the middle of a video, which is gone on from
its saved state and is that of an undisturbed group bit for bit; and while all load together.
"""
import hashlib
import json
import os
import pathlib
import signal

import h5py

import fault_case
import program
import side_by_side
from fault_case import FaultCase
from night import environment_of, status_of

load_tests = side_by_side.loader(threads=2)

ENGINE = """#!/bin/sh
log=$(basename "$(readlink /proc/self/fd/2)" .log)
[ "$log" != renderer-1 ] || export CHAOS_MODEL='{model}'
exec '{engine}' "$@"
"""
READS = "renderer.before.open.model.safetensors"
STEPS, EVERY = 6, 4  # one state of each video is saved, and none of a video that is gone on from it
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

    def stands_still(self, times):
        """The first renderer of the group, once it has stopped so often, each time in the middle of another video."""
        self.assertTrue(program.until(lambda: len(self.log()) == times, 120), f"{times} states saved")
        first = self.log()[-1][0]
        self.assertTrue(program.until(lambda: status_of(first)[1] == "T", 60))
        return first

    def test_a_renderer_that_is_killed_or_frozen_in_the_middle_of_a_video(self):
        faults = [(0, signal.SIGKILL, "signal 9"), (1, signal.SIGKILL, "signal 9"), (1, signal.SIGSTOP, "hung: no event for ")]
        hit = [f"hit-{number}" for number in range(len(faults))]
        self.trap(SAVED, "stop")
        process = self.start_jobs([self.video(name) for name in (*hit, "quiet")], *GROUP)
        for number, (rank, fault, _) in enumerate(faults, 1):
            first = self.stands_still(number)
            renderers = self.renderers()
            self.assertEqual((len(renderers), renderers[0]), (2, first))
            if number < len(faults):
                self.trap(SAVED, "stop")
            os.kill(renderers[rank], fault)
            if rank != 0:
                os.kill(first, signal.SIGCONT)
        ended = self.finish(process)
        self.assert_ended(ended, 0)
        for rank, _, how in faults:
            self.assertRegex(ended.log, rf"rank 0: renderer-died: the renderer of rank {rank} on host \S+: {how}")
        self.assertEqual(len(self.log()), len(faults))
        self.assertEqual(ended.log.count(": group: 2 render together: "), len(faults) + 1)
        expected, sidecar = self.made("quiet")
        self.assertEqual((sidecar["resumed_step"], sidecar["attempt"], sidecar["ranks"]), (0, 1, 2))
        for name in hit:
            files, sidecar = self.made(name)
            self.assertEqual(files, expected, name)
            self.assertEqual((sidecar["resumed_step"], sidecar["attempt"], sidecar["ranks"]), (EVERY, 2, 2))
        self.assertFalse(list((self.out / "checkpoints").iterdir()))

    def with_model_points_of_renderer_1(self):
        self.program = self.copy_of_nightreel()
        engine = self.program.parent / "nightreel-engine"
        engine.write_text(ENGINE.format(model=program.SHAPES, engine=program.BUILD / "bin/nightreel-engine"))
        engine.chmod(0o755)

    def test_a_renderer_that_is_killed_while_all_load_together(self):
        """All ranks are needed, and have one: the killed one is started again."""
        self.with_model_points_of_renderer_1()
        self.trap(READS, "kill")
        ended = self.run_jobs([self.video("made")], "--load", "together", "--stage-limits", "load=60s", ranks=3)
        self.assert_ended(ended, 0)
        self.went_off(READS)
        self.assert_whole("made")
        logs = {file.stem: file.read_text() for file in self.out.glob("logs/*/renderer-*.log")}
        for rank in (0, 2):
            self.assertRegex(logs[f"renderer-{rank}"], "reading the weights alone, since together failed: .*"
                                                       r"rank 1 of 3 did not come within 15000 ms")
        self.assertRegex(ended.log, "rank 1: load-alone: the renderer is started anew .*: it ended: signal 9")
        self.assertEqual([(rank["group"], rank["error"]) for rank in self.run_json()["ranks"]],
                         [([rank], None) for rank in range(3)])


if __name__ == "__main__":
    fault_case.main()
