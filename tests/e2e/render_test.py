"""The renderer as a rank sees it, where it takes a process to show: a real model, pipes that are inherited, exit codes.
What it answers to what is shown by tests/render, in the process.
"""
import program
from program import ENDLESS, ProgramTest
from renderer import Renderer


class RenderTest(ProgramTest):
    def renderer(self, *flags):
        made = Renderer(*flags)
        self.addCleanup(made.kill)
        return made

    def test_it_lives_renders_cancels_writes_and_ends_with_its_input(self):
        renderer = self.renderer()
        ready = renderer.wait_for("ready")
        self.assertEqual(ready["device"], "cpu")
        self.assertEqual(len(ready["model_digest"]), 32)
        self.assertIn("libtorch", ready["versions"])
        renderer.wait_for("heartbeat")
        renderer.send("probe")
        self.assertIn("libtorch", renderer.wait_for("probed")["facts"])
        renderer.render("long", 1, changed=ENDLESS)
        files = {name: self.folder / f"next.{end}" for name, end in (("video", "mp4"), ("sheet", "jpg"), ("archive", "h5"))}
        renderer.render("next", 2, **files)
        renderer.wait_for("progress", job="long", stage="denoise", step=2)
        renderer.send("cancel", job="long")
        self.assertEqual(renderer.wait_for("failed", job="long", token=1)["kind"], "interrupted")
        renderer.wait_for("done", job="next", token=2)
        self.assertEqual(renderer.end(), 0)
        self.assertEqual([file.name for file in files.values() if not file.stat().st_size], [])

    def test_a_request_that_makes_no_sense_ends_it_with_a_reason(self):
        renderer = self.renderer()
        renderer.wait_for("ready")
        renderer.render("long", 1, changed=ENDLESS)
        renderer.wait_for("progress", job="long", stage="denoise", step=1)
        renderer.write('{"v": 1, "type": "dance"}')
        self.assertIn("dance", renderer.wait_for("failed", job="", kind="renderer")["message"])
        self.assertEqual(renderer.wait_for("failed", job="long")["kind"], "interrupted")
        self.assertEqual(renderer.end(close=False), 1)

    def test_without_a_model_it_answers_probes_alone(self):
        renderer = self.renderer("--probe")
        self.assertEqual(renderer.wait_for("ready")["model_digest"], "")
        renderer.render("video", 7)
        self.assertEqual(renderer.wait_for("failed", job="video", token=7)["kind"], "model")
        renderer.send("shutdown")
        self.assertEqual(renderer.end(close=False), 0)


if __name__ == "__main__":
    program.main()
