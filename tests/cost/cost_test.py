"""The books of what tests cost: measured.py counts what its command started, table.py adds up what was written down."""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

import table

HERE = pathlib.Path(__file__).resolve().parent
SPIN = "import time; end = time.process_time() + 0.3\nwhile time.process_time() < end: pass"


class Measured(unittest.TestCase):
    def measured(self, *command):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "cost" / "one.json"
            done = subprocess.run([sys.executable, HERE / "measured.py", file, *command], capture_output=True, text=True)
            return done, json.loads(file.read_text())

    def test_the_exit_code_is_the_commands(self):
        done, cost = self.measured("sh", "-c", "echo heard; exit 77")
        self.assertEqual((done.returncode, done.stdout, cost["code"], cost["name"]), (77, "heard\n", 77, "one"))

    def test_a_signal_is_an_exit_code_and_a_word(self):
        done, cost = self.measured("sh", "-c", "kill -9 $$")
        self.assertEqual((done.returncode, cost["code"]), (137, -9))
        self.assertIn("signal 9", done.stderr)

    def test_what_cannot_run_says_so(self):
        done, _ = self.measured("/no/such/program")
        self.assertEqual(done.returncode, 127)
        self.assertIn("/no/such/program", done.stderr)

    def test_what_a_grandchild_computes_counts(self):
        _, cost = self.measured("sh", "-c", f"{sys.executable} -c '{SPIN}'; true")
        self.assertGreaterEqual(cost["cpu_s"], 0.3)

    def test_what_a_process_left_behind_computes_counts_when_it_ends_first(self):
        left = f"""pid=$(sh -c '{sys.executable} -c "{SPIN}" >/dev/null & echo $!')
            while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done"""
        _, cost = self.measured("sh", "-c", left)
        self.assertGreaterEqual(cost["cpu_s"], 0.3)


class Table(unittest.TestCase):
    def test_targets_add_up_their_steps_the_last_of_each(self):
        with tempfile.TemporaryDirectory() as folder:
            log = pathlib.Path(folder) / ".ninja_log"
            log.write_text("# ninja log v5\n"
                           "0\t9000\t0\tsrc/job/CMakeFiles/nightreel_job.dir/a.cpp.o\tx\n"
                           "0\t1500\t0\tsrc/job/CMakeFiles/nightreel_job.dir/a.cpp.o\tx\n"
                           "100\t600\t0\tsrc/job/CMakeFiles/nightreel_job.dir/b.cpp.o\tx\n"
                           "0\t250\t0\tbin/nightreel\tx\n")
            steps = table.steps(log)
        self.assertEqual(dict(steps), {"nightreel_job": [2, 2.0], "link or make nightreel": [1, 0.25]})

    def test_a_long_list_ends_with_the_sum_of_what_was_cut(self):
        lines = [(f"t{i}", "1.0") for i in range(table.SHOWN + 3)]
        text = "\n".join(table.rows("Tests", ("test", "s"), lines, lambda cut: (f"{len(cut)} more", str(len(cut)))))
        self.assertIn("| 3 more | 3 |", text)
        self.assertNotIn(f"| t{table.SHOWN} |", text)


if __name__ == "__main__":
    unittest.main()
