"""scripts/launch.sh: which code a script ends with, for launchers that end in every way; and shellcheck over all scripts.

The launcher is a line of shell here, so that its code, its signals and the summaries are the test's own.
"""
import re
import shutil
import signal
import subprocess
import unittest

from launching import LaunchTest, SCRIPTS, SOURCE, finish, program, side_by_side, until
from shells import SHELLS, SOURCED, shell_scripts

load_tests = side_by_side.loader(threads=4)

SCRIPT = """set -eu
. "$1"
launch "$2" sh -c "$3"
echo "$launch_code ${launch_summary##*/}"
"""
TOLD = """summary() { printf '{\\n  "error": {"message": "\\\\"exit_code\\\\": 9"},\\n  "exit_code": %s,\\n}\\n' "$1" >"OUT/runs/$2.json"; }
"""


class TheCode(LaunchTest):
    shell = "dash"

    def setUp(self):
        super().setUp()
        (self.out / "runs").mkdir(parents=True)
        (self.out / "runs/earlier.json").write_text('{"exit_code": 4}\n')

    def launch(self, line):
        line = (TOLD + line).replace("OUT", str(self.out))
        return self.start(*SHELLS[self.shell], "-c", SCRIPT, "script", SCRIPTS / "launch.sh", self.out, line)

    def test_without_a_signal_the_launchers_code_stands(self):
        for line, expected in (("exit 0", "0 "), ("summary 0 a; exit 0", "0 a.json"), ("summary 3 a; exit 3", "3 a.json"),
                               ("exit 2", "2 "), ("summary 75 a; exit 75", "75 a.json"), ("summary 4 a; exit 4", "4 a.json"),
                               ("summary 1 a; exit 1", "1 a.json"), ("exit 1", "3 "), ("kill -9 $$", "137 "),
                               ("summary 0 a; exit 139", "139 a.json"),
                               # mpirun alone was sent TERM: the ranks know better
                               ("summary 75 a; exit 1", "75 a.json"),
                               # another run on the same OUT
                               ("summary 0 other; exit 1", "1 other.json")):
            with self.subTest(line):
                ended = finish(self.launch(line))
                self.assertEqual(ended.out, expected + "\n", ended.said)
                for file in ("a", "other"):
                    (self.out / f"runs/{file}.json").unlink(missing_ok=True)

    def signalled(self, line, sent):
        """The line says `ready` when it may be signalled."""
        process = self.launch(line)
        self.assertTrue(until(lambda: (self.out / "ready").exists() or process.poll() is not None), "not started")
        process.send_signal(sent)
        ended = finish(process)
        (self.out / "ready").unlink(missing_ok=True)
        return ended.out.strip()

    def test_term_and_int_and_hup_become_two_usr1_and_usr1_stays_one(self):
        """Once it has got as many as it should, it stays for half a second, in which one too many would come."""
        count = """n=0; trap 'n=$((n+1)); sleep 0.2' USR1; touch OUT/ready; i=0
while [ $n -lt %d ] && [ $i -lt 600 ]; do sleep 0.05; i=$((i+1)); done
i=0; while [ $i -lt 10 ]; do sleep 0.05; i=$((i+1)); done; exit $((60+n))"""
        for sent, got in ((signal.SIGTERM, 2), (signal.SIGINT, 2), (signal.SIGHUP, 2), (signal.SIGUSR1, 1)):
            with self.subTest(sent=sent):
                self.assertEqual(self.signalled(count % got, sent), str(60 + got))

    def test_a_launcher_that_invents_a_code_when_signalled_is_overruled(self):
        dies = "trap '%s' USR1; touch OUT/ready; while :; do sleep 0.05; done"
        for reaction, expected in (("exit 75", "75"), ("summary 75 a; exit 1", "75 a.json"), ("exit 1", "75"),
                                   ("trap - USR1; kill -USR1 $$", "75"), ("summary 0 a; exit 1", "0 a.json"),
                                   ("summary 1 a; exit 143", "1 a.json"), ("exit 3", "3"), ("exit 0", "0"),
                                   ("summary 0 a; summary 0 b; exit 1", "75 b.json")):
            with self.subTest(reaction):
                self.assertEqual(self.signalled(dies % reaction, signal.SIGTERM), expected)
                for file in ("a", "b"):
                    (self.out / f"runs/{file}.json").unlink(missing_ok=True)


class TheCodeInBash(TheCode):
    shell = "bash"


class TheCodeInBusybox(TheCode):
    shell = "busybox"


class Style(unittest.TestCase):
    def test_shellcheck_has_nothing_to_say(self):
        self.assertTrue(shutil.which("shellcheck"), "apt-get install shellcheck")
        scripts = shell_scripts()
        self.assertGreaterEqual({file.name for file in scripts}, {"launch.sh", "run.sh", "setup", "postinst", "quick_engine.sh"})
        done = subprocess.run(["shellcheck", "-x", "-s", "sh", *scripts], cwd=SOURCE, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout)

    def test_checks_that_keep_text_from_being_run_are_on_and_find_it(self):
        """.shellcheckrc names them; no script switches one off but for words that are meant to be words."""
        for line, check in (("x=$(cat f); echo $x", "SC2086"), ("for x in $(cat f); do echo \"$x\"; done; echo $(cat f)", "SC2046"),
                            ("$(cat f)", "SC2091"), ("x=$(cat f); trap \"echo $x\" EXIT", "SC2064"),
                            ("find . -exec sh -c 'echo {}' \\;", "SC2156"), ("x=$1; printf \"$x\"", "SC2059"),
                            ("ssh host \"cd $PWD; ls\"", "SC2029"), ("x=1; echo $x", "SC2248")):
            done = subprocess.run(["shellcheck", "-s", "sh", "-f", "gcc", "-"], input=f"{line}\n", cwd=SOURCE,
                                  capture_output=True, text=True)
            self.assertIn(check, done.stdout, line)
        for file in shell_scripts():
            off = set(re.findall(r"SC\d+", " ".join(re.findall(r"shellcheck disable=(\S+)", file.read_text()))))
            self.assertLessEqual(off, {"SC2086", "SC2248", "SC2016"}, file)

    def test_every_script_stops_at_the_first_error_and_can_be_started(self):
        for file in shell_scripts():
            with self.subTest(file.name):
                if file.name not in SOURCED:
                    self.assertRegex(file.read_text(), r"(?m)^set -eu$")
                    self.assertTrue(file.stat().st_mode & 0o111, "not executable")


if __name__ == "__main__":
    program.main()
