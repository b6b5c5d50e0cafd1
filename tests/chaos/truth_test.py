"""The checks of a night whose world misbehaves find what they are there for."""
import hashlib
import json
import pathlib
import tempfile
import types
import unittest

import truth
import world
from night import now_ms


def sha(content):
    return hashlib.sha256(content).hexdigest()


class Truth(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.out = pathlib.Path(folder.name)
        (self.out / "videos").mkdir()
        self.night = truth.Truth.__new__(truth.Truth)
        self.night.options = types.SimpleNamespace(renderer="shapes")
        self.night.night = types.SimpleNamespace(out=self.out, codes=[0])
        self.night.injector = types.SimpleNamespace(touched={}, floods=[])
        self.night.jobs, self.night.violations, self.night.good_ends = {"a": {}}, [], 0
        self.publish(b"video")

    def publish(self, content):
        (self.out / "videos/a.mp4").write_bytes(content)
        (self.out / "videos/a.json").write_text(json.dumps({"sha256": sha(content)}))

    def found_at_the_end_with(self, code):
        self.night.violations = []
        self.night.ended(code)
        return self.night.violations

    def test_a_run_that_gives_0_is_held_to_it(self):
        self.assertEqual(self.found_at_the_end_with(0), [])
        (self.out / "videos/a.mp4").write_bytes(b"other")
        self.assertEqual(len(self.found_at_the_end_with(0)), 1)
        (self.out / "videos/a.mp4").unlink()
        self.assertEqual(len(self.found_at_the_end_with(0)), 1)
        self.assertEqual(self.found_at_the_end_with(75), [])
        self.assertEqual(len(self.found_at_the_end_with(-13)), 1)

    def test_what_was_touched_just_now_could_not_be_seen(self):
        (self.out / "videos/a.mp4").unlink()
        self.night.injector.touched = {"a": [(now_ms(), None)]}
        self.assertEqual(self.found_at_the_end_with(0), [])
        self.night.injector.touched = {"a": [(now_ms() - truth.JUST_NOW_MS - 1000, None)]}
        self.assertEqual(len(self.found_at_the_end_with(0)), 1)
        self.assertEqual(len(self.night.missing(-1)), 1)  # in the end nothing excuses

    def test_with_a_flood_1_speaks_of_rejects_and_is_held_to_the_same(self):
        (self.out / "videos/a.mp4").unlink()
        self.assertEqual(self.found_at_the_end_with(1), [])
        self.night.injector.floods = [1]
        self.assertEqual(len(self.found_at_the_end_with(1)), 1)

    def test_what_another_writer_left_must_stand_under_its_own_name(self):
        other = sha(b"other")
        self.night.injector.touched = {"a": [(1, other), (2, None)]}
        self.assertEqual(len(self.night.set_aside()), 1)
        aside = self.out / f"videos/a.mp4.was-{other[:8]}"
        aside.write_bytes(b"changed")
        self.assertEqual(len(self.night.set_aside()), 1)
        aside.write_bytes(b"other")
        self.assertEqual(self.night.set_aside(), [])


class World(unittest.TestCase):
    def test_faults_of_the_world_are_about_half_and_each_kind_comes(self):
        kinds = [one["kind"] for one in world.draw(1, 400, sorted(world.KINDS))]
        ours = {kind for weights in world.KINDS.values() for kind in weights}
        self.assertTrue(ours <= set(kinds), ours - set(kinds))
        self.assertTrue(120 < sum(kind in ours for kind in kinds) < 280)
        for kind in ours:
            self.assertTrue(callable(getattr(world.WorldInjector, kind)))

    def test_a_private_redis_is_not_spoken_to_as_the_test_s_own(self):
        kinds = {one["kind"] for one in world.draw(1, 400, ["private"], private=True)}
        self.assertFalse(kinds & world.NOT_WHEN_PRIVATE)
        self.assertIn("private_killed", kinds)

    def test_half_of_a_flood_is_equal(self):
        self.assertEqual(len(world.garbage(3)), world.FLOOD)
        self.assertEqual(len(set(world.garbage(3))), world.FLOOD // 2 + 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
