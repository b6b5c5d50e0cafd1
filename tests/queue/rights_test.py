"""Holds rights.lua, by which a user's rights are tried before weights are loaded, against what the other scripts do."""
import pathlib
import re
import sys
import unittest

SCRIPTS = pathlib.Path(__file__).resolve().parents[2] / "src/queue/lua"
CALL = re.compile(r"redis\.p?call\(\s*'([A-Z]+)'")


def commands(text):
    """The commands of a script. A call whose command is no plain word is one that this test cannot see."""
    code = re.sub(r"--.*", "", text)
    named = CALL.findall(code)
    if len(named) != len(re.findall(r"redis\.p?call\(", code)):
        raise ValueError("a call whose command is not written out")
    return set(named)


class Rights(unittest.TestCase):
    def test_the_scripts_that_run_do_nothing_that_is_not_tried_and_the_trial_does_nothing_else(self):
        done = set()
        for script in SCRIPTS.glob("*.lua"):
            if script.name != "rights.lua":
                with self.subTest(script.name):
                    done |= commands(script.read_text())
        tried = commands((SCRIPTS / "rights.lua").read_text())
        self.assertGreater(len(done), 20)
        self.assertEqual(tried, done)

    def test_a_call_that_cannot_be_seen_is_told(self):
        with self.assertRaises(ValueError):
            commands("redis.call(name, key)")
        self.assertEqual(commands("redis.call('GET', key) -- redis.call('DEL', key)"), {"GET"})


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
