"""models/shapes and models/shapes-i2v draw what they are asked for, and diffusers draws the same latents."""
import json
import pathlib
import sys
import unittest

import h5py
import numpy as np
import torch

import program
from program import SOURCE, nightreel

sys.path.insert(0, str(SOURCE / "tools/shapes"))
import check  # noqa: E402  (found by the line above)
import judge  # noqa: E402
import lists  # noqa: E402
import world  # noqa: E402

torch.set_num_threads(1)  # others have the cores too: threads that wait for each other burn them
SEED = lists.SEED
FEW_STEPS = 20  # of the job that diffusers draws too


class Judge(unittest.TestCase):
    """Who judges the models is right himself."""

    def judged(self, scenes):
        videos = [check.to_uint8(clip).permute(1, 2, 3, 0).numpy() for clip in check.clips(scenes)]
        return [judge.judge(video) for video in videos]

    def test_rendered_clips_are_read_right_and_shuffled_answers_are_not(self):
        rng, every = np.random.default_rng(SEED), world.combinations()
        scenes = [world.random_scene(rng, every, every[i]) for i in rng.permutation(len(every))[:100]]
        seen, asked = self.judged(scenes), [judge.wanted(scene) for scene in scenes]
        self.assertEqual(seen, asked)
        self.assertFalse([s for s, a in zip(seen, asked[1:] + asked[:1]) if check.right(s, a)["all four"]])
        self.assertTrue(any(len(scene.things) == 2 for scene in scenes))
        self.assertTrue(any(scene.blurred for scene in scenes))

    def test_an_empty_clip_shows_nothing(self):
        seen = judge.judge(np.full((17, 64, 64, 3), 8, np.uint8))
        self.assertEqual((seen.things, seen.background), ((), "black"))

    def test_no_combination_is_both_trained_on_and_asked_for(self):
        held_out, trained = set(world.held_out()), set(world.trained())
        self.assertEqual((len(held_out), held_out & trained), (100, set()))
        rng = np.random.default_rng(SEED)
        drawn = {c for _ in range(500) for c in world.random_scene(rng, world.trained()).combinations()}
        self.assertEqual(drawn & held_out, set())
        for name, make in lists.LISTS.items():
            for line in make(np.random.default_rng(SEED)):
                self.assertLessEqual(set(lists.scene_of(line["id"]).combinations()), held_out, name)


class Shapes(program.ProgramTest):
    def render(self, model, kind, count):
        """The first jobs of a list, and the first once more in few steps."""
        lines = lists.LISTS[kind](np.random.default_rng(SEED))[:count]
        if kind == "i2v":
            lists.write_first_frames(self.folder)
        ended = nightreel("run", self.write_jobs(*lines, self.few(lines)), "--model", SOURCE / "models" / model, "--out", self.out,
                          "--threads", 1)
        self.assert_ended(ended, 0)
        return lines

    @staticmethod
    def few(lines):
        return {**lines[0], "id": "few-steps", "num_inference_steps": FEW_STEPS}

    def assert_mostly_right(self, lines, wanted):
        """The figures of the READMEs are measured on a hundred clips; a model that was broken gets none of these right."""
        seen = {line["id"]: judge.judge(check.read_video(self.out / f"videos/{line['id']}.mp4")) for line in lines}
        right = [name for name in seen if check.right(seen[name], judge.wanted(lists.scene_of(name)))["all four"]]
        self.assertGreaterEqual(len(right), wanted, seen)

    def assert_latents_of_diffusers(self, model, line):
        theirs = check.diffusers_latents(check.pipeline_of(SOURCE / "models" / model), self.sidecar(line), line, self.folder)
        with h5py.File(self.out / f"archive/{line['id']}.h5") as archive:
            off = float(np.abs(archive["latents"][:] - theirs).max())
        self.assertLess(off, 2e-4)

    def sidecar(self, line):
        return json.loads(pathlib.Path(self.out / f"videos/{line['id']}.json").read_text())

    def test_combinations_that_training_never_saw(self):
        lines = self.render("shapes", "held-out", 8)
        self.assert_mostly_right(lines, 6)
        self.assert_latents_of_diffusers("shapes", self.few(lines))

    def test_a_first_frame_is_animated(self):
        lines = self.render("shapes-i2v", "i2v", 4)
        self.assert_mostly_right(lines, 3)
        self.assert_latents_of_diffusers("shapes-i2v", self.few(lines))
        asked = check.load_image(str(self.folder / lines[0]["image"]))
        first = check.read_video(self.out / f"videos/{lines[0]['id']}.mp4")[0].astype(float)
        self.assertLess(np.abs(first - np.asarray(asked, float)).mean(), 12)


if __name__ == "__main__":
    program.main()
