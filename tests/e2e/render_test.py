"""The renderer as a rank sees it: a process with JSON lines on its pipes."""
import os
import sys

import h5py
import numpy

import program
from program import ENDLESS, SHAPES, until
from renderer import SAVED, Renderer

sys.path.insert(0, str(program.SOURCE / "tests/chaos"))
from fault_case import FaultCase  # noqa: E402  (found by the line above)


class RenderTest(FaultCase):
    real_renderer = True

    def renderer(self, *flags, env=None):
        made = Renderer(*flags, env=env)
        self.addCleanup(made.kill)
        return made

    def latents(self, path):
        with h5py.File(path) as archive:
            return archive["latents"][...]

    def test_says_what_it_is_and_that_it_lives_and_ends_with_its_input(self):
        renderer = self.renderer()
        ready = renderer.wait_for("ready")
        self.assertEqual(ready["device"], "cpu")
        self.assertEqual(len(ready["model_digest"]), 32)
        self.assertIn("libtorch", ready["versions"])
        renderer.wait_for("heartbeat", seconds=5)
        renderer.send("probe")
        self.assertIn("libtorch", renderer.wait_for("probed")["facts"])
        self.assertEqual(renderer.end(seconds=5), 0)

    def test_without_a_model_it_answers_probes_alone(self):
        loaded = self.renderer()
        digest = loaded.wait_for("ready")["model_digest"]
        renderer = self.renderer("--probe")
        self.assertEqual(renderer.wait_for("ready")["model_digest"], "")
        renderer.wait_for("heartbeat", seconds=5)
        nobody = {"backend": "store", "address": "", "rank": 0, "size": 1, "deadline_ms": 20000}
        renderer.send("probe", what="model", model=str(SHAPES), group=nobody, transfers=[], repeats=1)
        self.assertEqual(renderer.wait_for("probed")["facts"]["digest"], digest)
        renderer.send("probe", what="model", model=str(self.folder / "none"), group=nobody, transfers=[], repeats=1)
        self.assertIn("none", renderer.wait_for("failed", job="", kind="model")["message"])
        renderer.render("video", 7)
        self.assertEqual(renderer.wait_for("failed", job="video", token=7)["kind"], "model")

        renderer.send("group", **nobody)
        address = renderer.wait_for("rendezvous", joined=False)["address"]
        transfers = [{"name": "a", "verb": "all_to_all", "elements": 1000}, {"name": "b", "verb": "all_gather", "elements": 7}]
        renderer.send("probe", what="group", model="", group={**nobody, "address": address}, transfers=transfers, repeats=3)
        results = renderer.wait_for("probed", facts={"sum_correct": True})["transfers"]
        self.assertEqual([(r["name"], r["bytes"], r["correct"]) for r in results], [("a", 2000, True), ("b", 14, True)])
        self.assertEqual(renderer.end(seconds=5), 0)
        loaded.end()

    def test_denoises_one_video_while_the_one_before_is_written(self):
        renderer = self.renderer()
        slow = self.folder / "slow.mp4"
        os.mkfifo(slow)  # a disk that takes nothing until it is read from
        renderer.render("first", 1, video=slow)
        renderer.render("second", 2, archive=self.folder / "second.h5")
        renderer.render("third", 3, archive=self.folder / "third.h5")
        renderer.wait_for("progress", job="second", stage="denoise", step=4)
        self.assertFalse([e for e in renderer.seen if e["type"] in ("done", "failed")], "the first cannot have ended")
        with open(slow, "rb") as pipe:
            pipe.read()
        renderer.wait_for("failed", job="first")  # a pipe is no place for an MP4 file, which is written out of order
        renderer.wait_for("done", job="second", token=2)
        renderer.wait_for("done", job="third", token=3)
        self.assertEqual(renderer.end(), 0)

    def test_a_cancelled_job_fails_as_interrupted_and_the_next_one_is_rendered(self):
        renderer = self.renderer()
        renderer.render("long", 1, changed=ENDLESS)
        renderer.render("next", 2)
        renderer.wait_for("progress", job="long", stage="denoise", step=2)
        renderer.send("cancel", job="long")
        self.assertEqual(renderer.wait_for("failed", job="long", seconds=20)["kind"], "interrupted")
        renderer.wait_for("done", job="next")
        self.assertEqual(renderer.end(), 0)

    def test_a_stopped_job_leaves_its_state_and_goes_on_to_the_same_latents(self):
        undisturbed, resumed = (self.folder / name for name in ("a.h5", "b.h5"))
        state = self.out / "checkpoints/state.h5"
        state.parent.mkdir(parents=True)
        renderer = self.renderer(env=self.environment())
        renderer.render("job", 1, steps=12, archive=undisturbed)
        renderer.wait_for("done", job="job", token=1)
        self.trap(SAVED, "hold")
        renderer.render("job", 2, steps=12, archive=resumed, checkpoint=state, checkpoint_every=4)
        renderer.stop_while_held("job", self)
        renderer.wait_for("checkpoint", job="job", token=2, step=5)
        renderer.wait_for("failed", job="job", token=2)
        self.assertEqual(renderer.end(), 0)
        another = self.renderer()
        another.render("job", 3, steps=12, archive=resumed, checkpoint=state)
        self.assertEqual(another.wait_for("done", job="job", token=3)["resumed_step"], 5)
        numpy.testing.assert_array_equal(self.latents(undisturbed), self.latents(resumed))
        self.assertEqual(another.end(), 0)

    def test_a_broken_state_is_set_aside_and_the_job_starts_afresh(self):
        state = self.folder / "state.h5"
        state.write_bytes(b"no checkpoint at all" * 100)
        renderer = self.renderer()
        renderer.render("job", 1, archive=self.folder / "a.h5", checkpoint=state)
        self.assertEqual(renderer.wait_for("done", job="job")["resumed_step"], 0)
        self.assertEqual(renderer.end(), 0)

    def test_a_request_that_makes_no_sense_ends_it_with_a_reason(self):
        for line in ("no JSON", "{}", '{"v": 99, "type": "probe"}', '{"v": 1, "type": "dance"}', "[" * 10000,
                     '{"v": 1, "type": "render", "job": "x"}', "x" * (5 << 20)):
            with self.subTest(line=line[:40]):
                renderer = self.renderer()
                renderer.wait_for("ready")
                try:
                    renderer.write(line)
                except BrokenPipeError:
                    pass  # it had read enough
                event = renderer.wait_for("failed", job="")
                self.assertTrue(event["message"])
                try:
                    code = renderer.end()
                except BrokenPipeError:
                    code = renderer.end(close=False)
                self.assertIn(code, (1, 2, 3, 4))

    def test_an_unreadable_output_fails_that_job_alone(self):
        renderer = self.renderer()
        renderer.render("lost", 1, video=self.folder / "no folder" / "x.mp4")
        event = renderer.wait_for("failed", job="lost")
        self.assertEqual(event["kind"], "storage")
        self.assertIn("no folder", event["message"])
        renderer.render("kept", 2, video=self.folder / "x.mp4", sheet=self.folder / "x.jpg")
        renderer.wait_for("done", job="kept")
        self.assertEqual(renderer.end(), 0)
        self.assertTrue(until((self.folder / "x.mp4").exists, 1))


if __name__ == "__main__":
    program.main()
