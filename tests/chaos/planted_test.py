"""The table of planted bugs fits the sources: each old text is there once, each bug changes something."""
import unittest

import planted
from night import SOURCE


class Planted(unittest.TestCase):
    def test_there_are_twenty_of_different_names(self):
        self.assertGreaterEqual(len(planted.BUGS), 20)
        self.assertEqual(len(planted.BUGS), len(planted.TABLE))

    def test_each_old_text_stands_once_in_its_file_and_becomes_another(self):
        for bug in planted.BUGS.values():
            for file, old, new in bug.changes:
                with self.subTest(bug.name, file=file):
                    self.assertEqual((SOURCE / file).read_text().count(old), 1, old)
                    self.assertNotEqual(old, new)
                    self.assertEqual("PLANTED" in new, not file.endswith(".lua"))

    def test_the_planted_tree_asks_for_every_bug_and_wraps_every_script(self):
        texts = "".join(planted.changed_sources().values()) + planted.header()
        for name in planted.BUGS:
            self.assertIn(f'"{name}"', texts)
        scripts = len(list((SOURCE / "src/queue/lua").glob("*.lua"))) - 1  # the common part stands in each
        self.assertEqual(texts.count("base::planted_script(lua::k_"), scripts)

    def test_the_sources_themselves_know_nothing_of_it(self):
        for folder in ("include", "src"):
            for file in (SOURCE / folder).rglob("*.[ch]*"):
                self.assertNotIn("planted.h", file.read_text(), file)


if __name__ == "__main__":
    unittest.main(verbosity=2)
