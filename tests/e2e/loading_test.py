"""How renderers come by their weights, as processes: together, each byte read once, or from a copy on their own host. What
happens when a group does not meet, loses a member, or cannot copy is shown by tests/render, in the process.
"""
import os
import sys

import h5py
import numpy

import program
from program import SHAPES, ProgramTest
from renderer import Renderer

sys.path.insert(0, f"{os.environ['NIGHTREEL_SOURCE_DIR']}/tests/support")
import side_by_side  # noqa: E402  (found by the line above)

load_tests = side_by_side.loader(threads=2)


class LoadingTest(ProgramTest):
    def renderer(self, *flags):
        made = Renderer("--model", str(SHAPES), "--threads", "1", *map(str, flags))
        self.addCleanup(made.kill)
        return made

    def latents(self, renderer, name):
        renderer.render("video", 1, archive=self.folder / name)
        renderer.wait_for("done", job="video")
        with h5py.File(self.folder / name) as archive:
            return archive["latents"][...]

    def test_a_group_reads_every_byte_once_and_has_the_weights_that_one_has(self):
        alone, *group = self.renderer(), self.renderer("--load-group"), self.renderer("--load-group")
        meeting = {"backend": "store", "size": 2, "deadline_ms": 120000}
        group[0].send("group", address="", rank=0, **meeting)
        address = group[0].wait_for("rendezvous", joined=False)["address"]
        for rank, renderer in enumerate(group):
            renderer.send("group", address=address, rank=rank, **meeting)
        ready = alone.wait_for("ready")
        self.assertFalse(ready["load"]["shared"])
        together = [renderer.wait_for("ready") for renderer in group]
        self.assertEqual([one["model_digest"] for one in together], [ready["model_digest"]] * 2)
        self.assertEqual([one["load"]["shared"] for one in together], [True, True])
        read = sum(one["load"]["bytes_read"] for one in together)
        self.assertLessEqual(read, ready["load"]["bytes_read"])
        self.assertGreater(read, ready["load"]["bytes_read"] * 0.9)  # but a tied copy
        numpy.testing.assert_array_equal(self.latents(group[1], "together.h5"), self.latents(alone, "alone.h5"))
        self.assertEqual([renderer.end() for renderer in (alone, *group)], [0] * 3)
        self.assertRegex(alone.log, r"weights: [0-9.]+ GB read in [0-9.]+ s, [0-9.]+ GB/s\n")
        self.assertIn("this rank's share of a group of 2", group[0].log)

    def test_weights_are_read_from_a_copy_on_the_host(self):
        stage = self.folder / "stage"
        renderer = self.renderer("--stage-weights", stage)
        self.assertEqual(renderer.wait_for("ready")["model"]["path"], str(SHAPES))
        (copy,) = [path for path in stage.iterdir() if path.is_dir()]
        for name in ("model_index.json", "tokenizer/tokenizer.json", "vae/config.json"):
            self.assertEqual((copy / name).read_bytes(), (SHAPES / name).read_bytes())
        self.assertEqual(renderer.end(), 0)
        self.assertIn("stage-weights: copied", renderer.log)


if __name__ == "__main__":
    program.main()
