"""scripts/fuzz counts what was run, and knows each target."""
import pathlib
import re
import unittest

import fuzz

HERE = pathlib.Path(__file__).resolve().parent


class Fuzz(unittest.TestCase):
    def test_each_target_has_a_source_a_corpus_and_a_place_in_the_build(self):
        built = (HERE / "CMakeLists.txt").read_text()
        self.assertEqual(sorted(fuzz.TARGETS), sorted(file.name for file in (HERE / "corpus").iterdir()))
        for target in fuzz.TARGETS:
            self.assertIn("LLVMFuzzerTestOneInput", (HERE / f"{target}.cpp").read_text())
            self.assertIn(f"nightreel_fuzz_target({target} ", built)
        self.assertEqual(len(re.findall(r"^ *nightreel_fuzz_target\(", built, re.MULTILINE)), len(fuzz.TARGETS))

    def test_executions_are_read_from_what_libfuzzer_says(self):
        self.assertEqual(fuzz.executions_in("#8\tpulse\n#16\tNEW\nstat::number_of_executed_units: 123\n"), 123)
        self.assertEqual(fuzz.executions_in("INFO: seed\n#8\tpulse\n#4096\tREDUCE cov: 1\n==1== ERROR: libFuzzer\n"), 4096)
        self.assertEqual(fuzz.executions_in("no such file"), 0)

    def test_sums_are_by_target_and_name_each_commit_once(self):
        def row(target, executions, commit, found=()):
            return {"target": target, "executions": executions, "seconds": 2.4, "commit": commit, "found": list(found)}
        lines = fuzz.sums([row("pth", 1000, "a"), row("pth", 234, "b", ["x"]), row("pth", 1, "a"), row("state", 7, "a")])
        self.assertEqual(lines[2:], ["| pth | 1,235 | 7 | a, b | 1 |", "| state | 7 | 2 | a | 0 |"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
