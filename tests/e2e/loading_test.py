"""How renderers come by their weights: together, each byte read once, or from a copy on their own host."""
import json
import os
import shutil

import h5py
import numpy

import program
from program import SHAPES, ProgramTest
from renderer import Renderer


class LoadingTest(ProgramTest):
    def renderer(self, *flags, model=SHAPES):
        made = Renderer("--model", str(model), "--threads", "1", *map(str, flags))
        self.addCleanup(made.kill)
        return made

    def latents(self, renderer, name):
        renderer.render("video", 1, archive=self.folder / name)
        renderer.wait_for("done", job="video")
        with h5py.File(self.folder / name) as archive:
            return archive["latents"][...]

    def meet(self, renderers, size=None, deadline_ms=60000):
        group = {"backend": "store", "size": size or len(renderers), "deadline_ms": deadline_ms}
        renderers[0].send("group", address="", rank=0, **group)
        address = renderers[0].wait_for("rendezvous", joined=False)["address"]
        for rank, renderer in enumerate(renderers):
            renderer.send("group", address=address, rank=rank, **group)

    def test_a_group_reads_every_byte_once_and_has_the_weights_that_one_has(self):
        alone = self.renderer()
        ready = alone.wait_for("ready")
        self.assertFalse(ready["load"]["shared"])
        latents = self.latents(alone, "alone.h5")
        self.assertEqual(alone.end(), 0)
        self.assertRegex(alone.log, r"weights: [0-9.]+ GB read in [0-9.]+ s, [0-9.]+ GB/s\n")
        for size in (1, 2, 3):
            with self.subTest(size=size):
                group = [self.renderer("--load-group") for _ in range(size)]
                self.meet(group)
                loads = []
                for renderer in group:
                    renderer.wait_for("rendezvous", joined=True)
                    together = renderer.wait_for("ready")
                    self.assertEqual(together["model_digest"], ready["model_digest"])
                    loads.append(together["load"])
                self.assertEqual([load["shared"] for load in loads], [size > 1] * size)
                read = sum(load["bytes_read"] for load in loads)
                self.assertLessEqual(read, ready["load"]["bytes_read"])
                self.assertGreater(read, ready["load"]["bytes_read"] * 0.9)  # but a tied copy
                numpy.testing.assert_array_equal(self.latents(group[-1], "together.h5"), latents)
                self.assertEqual([renderer.end() for renderer in group], [0] * size)
                if size > 1:
                    self.assertIn(f"this rank's share of a group of {size}", group[0].log)

    def test_renderers_that_a_group_has_lost_a_member_of_load_alone(self):
        group = [self.renderer("--load-group") for _ in range(2)]
        self.meet(group, size=3, deadline_ms=4000)  # the third never comes
        for renderer in group:
            self.assertFalse(renderer.wait_for("ready")["load"]["shared"])
        for renderer in group:
            self.assertEqual(renderer.end(), 0)
            self.assertIn("load-group: reading the weights alone", renderer.log)
            self.assertRegex(renderer.log, "ranks? (0, |1, )?2 of 3 did not come")

    def test_who_waits_for_a_group_ends_with_its_input(self):
        self.assertNotEqual(self.renderer("--load-group").end(), 0)
        told = self.renderer("--load-group")
        told.send("shutdown")
        self.assertNotEqual(told.end(close=False), 0)

    def test_the_first_renderer_of_a_host_copies_the_weights_and_all_read_the_copy(self):
        stage = self.folder / "stage"
        model = self.folder / "model"
        shutil.copytree(SHAPES, model)
        first = [self.renderer("--stage-weights", stage, model=model) for _ in range(3)]
        digests = {renderer.wait_for("ready")["model_digest"] for renderer in first}
        self.assertEqual(len(digests), 1)
        (copy,) = [path for path in stage.iterdir() if path.is_dir()]
        for name in ("model_index.json", "transformer/config.json", "tokenizer/tokenizer.json", "vae/config.json"):
            if (model / name).exists():
                self.assertEqual((copy / name).read_bytes(), (model / name).read_bytes())
        for renderer in first:
            self.assertEqual(renderer.wait_for("ready")["model"]["path"], str(model))
            self.assertEqual(renderer.end(), 0)
        self.assertEqual(sum("stage-weights: copied" in renderer.log for renderer in first), 1)
        before = copy.stat().st_mtime_ns
        again = self.renderer("--stage-weights", stage, model=model)
        again.wait_for("ready")
        self.assertEqual(again.end(), 0)
        self.assertNotIn("stage-weights", again.log)
        self.assertEqual(copy.stat().st_mtime_ns, before)

        config = json.loads((model / "nightreel.json").read_text())
        (model / "nightreel.json").write_text(json.dumps({**config, "num_inference_steps": 3}))
        (stage / "old.partial").mkdir()  # of another model: nobody's business
        changed = self.renderer("--stage-weights", stage, model=model)
        changed.wait_for("ready")
        self.assertEqual(changed.end(), 0)
        self.assertEqual(len([path for path in stage.iterdir() if path.name.startswith("model-") and path.is_dir()]), 2)

    def test_a_copy_that_was_begun_and_never_ended_is_made_anew(self):
        stage = self.folder / "stage"
        made = self.renderer("--stage-weights", stage)
        made.wait_for("ready")
        self.assertEqual(made.end(), 0)
        (copy,) = [path for path in stage.iterdir() if path.is_dir()]
        os.rename(copy, str(copy) + ".partial")
        next((copy.parent / (copy.name + ".partial")).glob("vae/*.safetensors")).write_bytes(b"torn")
        again = self.renderer("--stage-weights", stage)
        again.wait_for("ready")
        self.assertEqual(again.end(), 0)
        self.assertIn("stage-weights: copied", again.log)
        self.assertEqual([path for path in stage.iterdir() if path.is_dir()], [copy])

    def test_where_nothing_can_be_copied_the_weights_are_read_from_where_they_are(self):
        taken = self.folder / "taken"
        taken.write_text("a file")
        renderer = self.renderer("--stage-weights", taken)
        renderer.wait_for("ready")
        self.assertEqual(renderer.end(), 0)
        self.assertIn("stage-weights: reading from", renderer.log)


if __name__ == "__main__":
    program.main()
