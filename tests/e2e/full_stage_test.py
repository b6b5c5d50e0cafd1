"""--stage-weights on a disk that is full before the copy, or in the middle of it: on a real one (tmpfs), mounted in a
namespace of this test's own.

Skipped (code 77) where this user may mount nothing.
"""
import os

import own_mounts

own_mounts.enter()

import program  # noqa: E402  (inside the namespace)
from program import SHAPES, ProgramTest  # noqa: E402
from renderer import Renderer  # noqa: E402


class FullStage(ProgramTest):
    def test_the_source_is_read_and_nothing_of_the_copy_stays(self):
        files = [path for path in SHAPES.rglob("*") if path.is_file()]
        self.assertGreater(len(files), 6)
        cases = {"no room": ("size=64k", "no room for"),
                 # Room enough at the first look, and places for half of the files: the stage's own, its lock's, these.
                 "no place": (f"size=4g,nr_inodes={len(files) // 2 + 2}", os.strerror(28))}
        for name, (options, why) in cases.items():
            with self.subTest(name):
                stage = self.folder / name
                own_mounts.mount_tmpfs(self, stage, options)
                renderer = Renderer("--model", str(SHAPES), "--threads", "1", "--stage-weights", str(stage))
                self.addCleanup(renderer.kill)
                ready = renderer.wait_for("ready")
                self.assertEqual(ready["model"]["path"], str(SHAPES))
                renderer.render("video", 1)
                renderer.wait_for("done", job="video")
                self.assertEqual(renderer.end(), 0)
                self.assertIn("stage-weights: reading from", renderer.log)
                self.assertIn(why, renderer.log)
                self.assertEqual([path.suffix for path in stage.iterdir()], [".lock"])
                self.assertEqual([path.stat().st_size for path in stage.iterdir()], [0])


if __name__ == "__main__":
    program.main()
