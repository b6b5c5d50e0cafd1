"""scripts/nightly/night.sh: nights in a row, one at a time; what one leaves, the next takes up."""
import pathlib
import re
import shutil
import signal
import subprocess
import unittest

from launching import LaunchTest, SCRIPTS, SOURCE, finish, program, side_by_side

FOLDER = SCRIPTS / "nightly"
load_tests = side_by_side.loader(threads=3)


class Nights(LaunchTest):
    def setUp(self):
        super().setUp()
        self.nights = self.folder / "nights"
        self.config = self.folder / "night.conf"
        self.config.write_text(f"LAUNCH_NIGHTS={self.nights}\nLAUNCH_JOBS={self.folder}/$date.jsonl\nLAUNCH_RANKS=1\n"
                               "LAUNCH_MPIRUN_OPTIONS=--oversubscribe\n")

    def environment(self, **more):
        return {name: value for name, value in super().environment(**more).items() if name != "NIGHTREEL_OUT"}

    def begin(self, date, *jobs, **more):
        self.write_jobs(*jobs, name=f"{date}.jsonl")
        return self.start(FOLDER / "night.sh", self.config, LAUNCH_DATE=date, **more)

    def lines(self, ended, code):
        """What it printed, with the summaries' names left out once they are known to be there."""
        self.assert_ended(ended, code)
        for name in re.findall(r"/\S+\.json", ended.out):
            self.assertTrue(pathlib.Path(name).exists(), name)
        return re.sub(r", /\S+/runs/\S+\.json", "", ended.out).splitlines()

    def made(self, date):
        return self.videos(self.nights / date)

    def test_failures_of_last_night_are_retried(self):
        self.with_the_model()
        once = self.small("a", max_attempts=1)
        ended = finish(self.begin("2026-11-20", once, LAUNCH_PROGRAM=str(self.with_stand_in_engine())))
        self.assertEqual(self.lines(ended, 1),
                         ["night 2026-11-20: exit code 1, drained, but some jobs failed for good"])
        self.assertEqual(self.lines(finish(self.begin("2026-11-21", self.small("b"))), 0),
                         [f"night {date}: exit code 0, every job is done" for date in ("2026-11-21", "2026-11-20")])
        self.assertEqual((self.made("2026-11-20"), self.made("2026-11-21")), (["a"], ["b"]))

    def test_they_are_retried_once_and_what_is_worst_is_said(self):
        """Launcher and program are stand-ins: a run that ends with the code that stands in the job file."""
        command = self.script("launcher", "code=$(cat $1)", "mkdir -p $NIGHTREEL_OUT/runs", "n=$(ls $NIGHTREEL_OUT/runs | wc -l)",
                              'echo "{\\"exit_code\\": $code}" >$NIGHTREEL_OUT/runs/$n.json', "exit $code")
        seen = self.folder / "seen"
        retry = self.script("nightreel", f'echo "$@" $NIGHTREEL_QUEUE >>{seen}')
        for date, code, expected, ends in ((20, 1, [20], 1), (21, 1, [21, 20], 1), (22, 0, [22, 21], 1), (23, 75, [23], 75),
                                           (24, 3, [24, 23], 3), (25, 4, [25, 23, 24], 4)):
            (self.folder / f"2026-11-{date}.jsonl").write_text(str(code))
            ended = self.call(FOLDER / "night.sh", self.config, LAUNCH_DATE=f"2026-11-{date}", LAUNCH_PROGRAM=str(retry),
                              LAUNCH_COMMAND=str(command))
            self.assertEqual([line[:16] for line in self.lines(ended, ends)], [f"night 2026-11-{each}" for each in expected])
        self.assertEqual(seen.read_text().splitlines(), [
            f"retry --all --out {self.nights}/2026-11-{date} night-2026-11-{date}" for date in (20, 21)])

    def test_where_the_report_is_stands_in_what_it_prints(self):
        command = self.script("launcher", "mkdir -p $NIGHTREEL_OUT/runs", 'echo "{\\"exit_code\\": 0}" >$NIGHTREEL_OUT/runs/a.json',
                              "touch $NIGHTREEL_OUT/index.html")
        (self.folder / "2026-11-20.jsonl").touch()
        ended = self.call(FOLDER / "night.sh", self.config, LAUNCH_DATE="2026-11-20", LAUNCH_PROGRAM="/bin/true",
                          LAUNCH_COMMAND=str(command))
        self.assertEqual(self.lines(ended, 0), ["night 2026-11-20: exit code 0, every job is done",
                                                f"night 2026-11-20: report {self.nights}/2026-11-20/index.html"])

    def test_nights_do_not_overlap_and_a_stopped_one_is_gone_on_with(self):
        first = self.begin("2026-11-22", self.small("first"), self.caught("a"), *map(self.small, "bc"))
        self.wait_for_caught(1)
        refused = finish(self.begin("2026-11-23", self.small("e")))
        self.assertEqual((refused.code, refused.out), (3, ""), refused.said)
        self.assertIn(f"another night is at work: night 2026-11-22, pid {first.pid} on ", refused.log)
        self.assertFalse((self.nights / "2026-11-23").exists())

        first.send_signal(signal.SIGTERM)
        stopped = "exit code 75, stopped early, work is left: run the same command again"
        self.assertEqual(self.lines(finish(first), 75), [f"night 2026-11-22: {stopped}"])
        lines = self.lines(finish(self.begin("2026-11-23", self.small("e"))), 0)
        self.assertEqual([line[:16] for line in lines], ["night 2026-11-23", "night 2026-11-22"])
        self.assertEqual((self.made("2026-11-22"), self.made("2026-11-23")), (["a", "b", "c", "first"], ["e"]))

    def test_what_is_missing_is_named(self):
        for text, code, part in ((None, 3, "night.conf.example"), ("LAUNCH_JOBS=x\n", 2, "LAUNCH_NIGHTS"),
                                 (f"LAUNCH_NIGHTS={self.nights}\n", 2, "LAUNCH_JOBS")):
            with self.subTest(part):
                config = self.folder / "other.conf"
                config.unlink(missing_ok=True)
                if text:
                    config.write_text(text)
                ended = self.call(FOLDER / "night.sh", config)
                self.assert_ended(ended, code)
                self.assertIn(part, ended.log)


class Units(unittest.TestCase):
    @unittest.skipUnless(shutil.which("systemd-analyze"), "systemd-analyze is not installed")
    def test_systemd_takes_them(self):
        with program.tempfile.TemporaryDirectory() as folder:
            for file in FOLDER.glob("nightreel-night.*"):
                text = file.read_text().replace("/opt/nightreel", str(SOURCE)).replace("User=nightreel", "User=root")
                (pathlib.Path(folder) / file.name).write_text(text)
            units = sorted(pathlib.Path(folder).iterdir())
            self.assertEqual(len(units), 2)
            done = subprocess.run(["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True)
            self.assertEqual((done.returncode, [line for line in done.stderr.splitlines() if folder in line]), (0, []),
                             done.stderr)

    def test_the_service_gives_up_what_a_night_does_not_need(self):
        service = (FOLDER / "nightreel-night.service").read_text()
        for line in ("NoNewPrivileges=yes", "ProtectSystem=full", "CapabilityBoundingSet=", "PrivateTmp=yes", "RestrictSUIDSGID=yes",
                     "ProtectKernelModules=yes", "ProtectControlGroups=yes"):
            self.assertRegex(service, rf"(?m)^{line}$")
        for taken in ("PrivateDevices", "DevicePolicy", "ProtectClock", "PrivateNetwork", "MemoryDenyWriteExecute"):
            self.assertNotRegex(service, rf"(?m)^{taken}=", "GPUs, CUDA's compiler and other hosts are needed")

    def test_cron_starts_what_systemd_starts(self):
        service = (FOLDER / "nightreel-night.service").read_text()
        (command,) = re.findall(r"^ExecStart=(.*)$", service, re.MULTILINE)
        (line,) = [line for line in (FOLDER / "nightreel.cron").read_text().splitlines() if line[:1].isdigit()]
        self.assertEqual(line.split(maxsplit=6)[5:], ["nightreel", command])
        self.assertTrue((SOURCE / command.split()[0].removeprefix("/opt/nightreel/")).exists())


if __name__ == "__main__":
    program.main()
