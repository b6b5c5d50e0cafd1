"""Every shell script under dash, bash --posix and busybox sh: what it calls is a stand-in that writes its words down, and
must be called alike. And no script runs what it read.

Of those that change a whole system (apt, debootstrap, chroot) only their refusals are executed here; what they do is
tests/packaging's, under /bin/sh.
"""
import os
import re
import shutil
import subprocess
import unittest

from launching import LaunchTest, SCRIPTS, SOURCE, finish, program, side_by_side
from shells import SHELLS, SOURCED, shell_scripts

load_tests = side_by_side.loader(threads=3)
WRITES_DOWN = 'echo "{name} $*" >>"$SEEN"'
HOSTILE = "count[$(touch {mark})0]"


class Scene(LaunchTest):
    """A folder with a copy of scripts/, stand-ins first in PATH, and what they were called with."""

    def setUp(self):
        super().setUp()
        self.tree = self.folder / "tree"
        shutil.copytree(SCRIPTS, self.tree / "scripts")
        self.scripts = self.tree / "scripts"
        self.seen, self.mark = self.folder / "seen", self.folder / "mark"
        self.program = self.stub("nightreel")
        self.stub("mpirun", 'exit "${MPIRUN_CODE:-0}"')
        self.stub("srun")

    def stub(self, name, *lines):
        return self.script(name, WRITES_DOWN.format(name=name), *lines)

    def under(self, shell, script, *arguments, code=0, **more):
        """What the stand-ins were called with, and what was printed."""
        self.seen.unlink(missing_ok=True)
        environment = {"PATH": f"{self.folder}/tools:{os.environ['PATH']}", "SEEN": str(self.seen), "LAUNCH_HOME": str(self.tree),
                       "LAUNCH_PROGRAM": str(self.program), "SLURM_NTASKS": "2", "SLURM_JOB_ID": "7", **more}
        ended = finish(self.start(*SHELLS[shell], script, *arguments, **environment))
        self.assertEqual(ended.code, code, f"{shell}: {ended.said}")
        return self.seen.read_text() if self.seen.exists() else "", ended

    def alike(self, script, *arguments, has=(), before=lambda: None, **how):
        """The same under each shell; the words of `has` are among what was called or printed."""
        told = {}
        for shell in SHELLS:
            before()
            seen, ended = self.under(shell, script, *arguments, **how)
            told[shell] = [sorted(line.split()) for line in (seen + ended.out).splitlines()]  # shells sort variables
            for part in has:
                self.assertIn(part, seen + ended.said, shell)
        self.assertTrue(told["dash"] == told["bash"] == told["busybox"], told)


class Launchers(Scene):
    def test_bare_metal(self):
        self.alike(self.scripts / "mpirun/run.sh", "a.jsonl", has=("mpirun --bind-to none", "-np 3", "--expect-ranks 3 a.jsonl"),
                   LAUNCH_RANKS="3")

    def test_the_slurm_scripts(self):
        for name, called in (("mpirun", "mpirun"), ("srun", "srun"), ("array", "mpirun"), ("container", "srun")):
            with self.subTest(name):
                self.stub("apptainer")
                self.alike(self.scripts / f"slurm/{name}.sbatch", "a.jsonl", has=(f"{called} ", "--expect-ranks 2 a.jsonl"),
                           REDIS_URL="redis://nowhere")

    def test_a_night(self):
        config = self.folder / "night.conf"
        config.write_text(f"LAUNCH_NIGHTS={self.folder}/nights\nLAUNCH_JOBS={self.folder}/$date.jsonl\nLAUNCH_COMMAND=mpirun\n")
        self.alike(self.scripts / "nightly/night.sh", config, has=("mpirun /", "2026-11-20.jsonl\n", "night 2026-11-20: exit code 0"),
                   before=lambda: shutil.rmtree(self.folder / "nights", ignore_errors=True), LAUNCH_DATE="2026-11-20")

    def test_a_list_of_a_night_is_no_option(self):
        config = self.folder / "night.conf"
        config.write_text(f"LAUNCH_NIGHTS={self.folder}/nights\nLAUNCH_JOBS=--overwrite\nLAUNCH_COMMAND=mpirun\n")
        self.alike(self.scripts / "nightly/night.sh", config, has=("mpirun ./--overwrite\n",),
                   before=lambda: shutil.rmtree(self.folder / "nights", ignore_errors=True), LAUNCH_DATE="2026-11-20")

    def test_a_launcher_pod_and_a_worker_pod(self):
        here = subprocess.run(["hostname", "-s"], capture_output=True, text=True, check=True).stdout.strip()
        (self.folder / "hostfile").write_text(f"{here} slots=2\n")
        self.stub("ssh")
        how = {"LAUNCH_HOSTFILE": str(self.folder / "hostfile"), "LAUNCH_TERMINATION_LOG": str(self.folder / "last")}
        launcher = self.scripts / "k8s-mpijob/launcher.sh"
        self.alike(launcher, "a.jsonl", has=("mpirun ", "-np 2", "--expect-ranks 2 a.jsonl"), **how)
        self.alike(launcher, "a.jsonl", code=2, has=("LAUNCH_WAIT_SECONDS is no number",), **how,
                   LAUNCH_WAIT_SECONDS=HOSTILE.format(mark=self.mark))
        self.assertFalse(self.mark.exists())
        for name in ("id_rsa", "authorized_keys"):
            (self.folder / name).write_text("x\n")
        sshd = self.script("sshd", 'grep -v HostKey "$3" >>"$SEEN"')
        self.alike(self.scripts / "k8s-mpijob/worker.sh", has=("Port 2222\n", "StrictModes no\n"), LAUNCH_SSHD=str(sshd),
                   LAUNCH_SSH_KEYS=str(self.folder), TMPDIR=str(self.folder))

    def test_the_nights_of_a_cluster(self):
        self.stub("kubectl", 'case "$*" in *--ignore-not-found) echo mpijob/nightreel ;; esac')
        self.alike(self.scripts / "k8s-mpijob/base/night.sh", code=3, has=("has not finished",), TMPDIR=str(self.folder))


class WhatWasRead(Scene):
    def setUp(self):
        super().setUp()
        self.stub("scontrol")
        self.requeue = self.scripts / "slurm/requeue.sbatch"
        self.fruitless = self.out / "runs/.requeued-in-vain-7"

    def put(self, text):
        self.fruitless.parent.mkdir(parents=True, exist_ok=True)
        self.fruitless.write_text(text)

    def test_a_file_in_out_is_not_run(self):
        """red-team.md, H2: bash evaluates `count[$(command)0]` in arithmetic."""
        self.alike(self.requeue, "a.jsonl", code=75, has=("scontrol requeue 7\n", "requeued, restart 2"),
                   before=lambda: self.put(HOSTILE.format(mark=self.mark)), MPIRUN_CODE="75", SLURM_RESTART_COUNT="1")
        self.assertFalse(self.mark.exists(), "what stood in a file of OUT was run")

    def test_a_second_fruitless_requeue_is_the_last(self):
        self.alike(self.requeue, "a.jsonl", code=75, has=("two requeues in a row got no further",), before=lambda: self.put("1\n"),
                   MPIRUN_CODE="75", SLURM_RESTART_COUNT="2")

    def test_what_is_no_number_is_refused_before_it_is_counted_with(self):
        hostile = HOSTILE.format(mark=self.mark)
        for name in ("SLURM_RESTART_COUNT", "LAUNCH_FINISH_SECONDS"):
            self.alike(self.requeue, "a.jsonl", code=2, has=(f"{name} is no number",), MPIRUN_CODE="75", **{name: hostile})
        self.assertFalse(self.mark.exists())

    def test_summaries_of_other_runs_are_read_as_text(self):
        def write():
            self.put("")
            (self.out / "runs/a.json").unlink(missing_ok=True)
        hostile = HOSTILE.format(mark=self.mark)
        self.script("mpirun", f"echo '\"exit_code\": {hostile}' >{self.out}/runs/a.json", "exit 1")
        self.alike(self.requeue, "a.jsonl", code=3, before=write)
        self.assertFalse(self.mark.exists())


class Developers(Scene):
    def test_build_test_demo_and_chaos(self):
        for name in ("cmake", "ctest", "python3"):
            self.stub(name)
        self.stub("clang-format", 'case $1 in --version) echo "clang-format version 14.0.6" ;; esac')
        for folder in ("src", "include", "tests", "bench", "tools", ".venv/bin", "build/demo/bin", "out/videos", ".ci"):
            (self.tree / folder).mkdir(parents=True)
        (self.tree / "src/a.cpp").touch()
        (self.tree / "out/videos/a.mp4").touch()
        shutil.copy2(SOURCE / ".ci/run", self.tree / ".ci/run")
        shutil.copy2(self.stub("python"), self.tree / ".venv/bin/python")
        (self.tree / "build/release/cost").mkdir(parents=True)
        self.alike(self.scripts / "build", "dev", "-DA=1", "x_test",
                   has=("cmake --preset dev -DA=1", "cmake --build --preset dev --target x_test"))
        self.alike(self.scripts / "format", has=("clang-format -Werror -i src/a.cpp",))
        self.alike(self.scripts / "chaos", "--faults", "1", has=("chaos.py --faults 1",))
        self.alike(self.scripts / "setup", "--cuda", has=("OFF\n",), NIGHTREEL_CUDA="OFF")
        for name in ("setup", "build"):  # called by the two below
            (self.scripts / name).write_text("#!/bin/sh\n" + WRITES_DOWN.format(name=name) + "\n")
        self.alike(self.scripts / "demo", self.tree / "out", has=("setup --cuda", "nightreel run jobs/demo.jsonl", "a.mp4"))
        self.alike(self.scripts / "test", "-L", "unit", has=("setup \n", "3-tests.json ctest --preset release -j 6 -L unit"))
        self.alike(self.tree / ".ci/run", has=("2-build.json scripts/build release",))

    def test_an_image_is_built(self):
        source = self.folder / "source"
        shutil.copytree(self.scripts, source / "scripts")
        (source / "scripts/setup").write_text("#!/bin/sh\n" + WRITES_DOWN.format(name="setup") + "\n")
        for name in ("cmake", "cpack"):
            self.stub(name)
        self.alike(self.scripts / "image/build-stage", source, self.folder / "package", NIGHTREEL_CUDA="OFF",
                   has=("cmake --preset release -B build/package -DBUILD_TESTING=OFF -DNIGHTREEL_CUDA=OFF", "cpack --config"))

    def test_scripts_that_change_a_system_refuse_alike(self):
        self.alike(self.scripts / "newcomer", self.folder, "demo", "nothing", code=3)
        for name, code in (("image/rootfs", 1), ("image/runtime-stage", 1), ("image/build-stage", 1)):
            for shell in SHELLS:  # `$1: unbound`: each shell has its own code and words for it
                seen = subprocess.run([*SHELLS[shell], self.scripts / name], capture_output=True, text=True)
                self.assertNotEqual(seen.returncode, 0, shell)
        for name in ("postinst", "postrm"):
            self.stub("systemctl")
            self.alike(SOURCE / "packaging" / name, "abort-upgrade")

    def test_the_stand_in_for_an_engine(self):
        fake = self.script("fake", "cat")
        for shell in SHELLS:
            done = subprocess.run([*SHELLS[shell], SOURCE / "tests/launch/quick_engine.sh", fake, self.folder], text=True,
                                  input='{"a":1}\n{"type":"group","address":""}\n', capture_output=True, timeout=60)
            self.assertIn('"address":"stand-in","joined":false', done.stdout, shell)
            self.assertIn('{"a":1}\n', done.stdout, shell)


class Text(unittest.TestCase):
    def test_every_script_is_one_for_each_shell(self):
        for file in shell_scripts():
            for shell, words in SHELLS.items():
                with self.subTest(file=file.name, shell=shell):
                    done = subprocess.run([*words, "-n", file], capture_output=True, text=True)
                    self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_nothing_that_was_read_is_evaluated(self):
        for file in shell_scripts():
            for fault in faults_of(file.read_text()):
                self.fail(f"{file.relative_to(SOURCE)}: {fault}")

    def test_what_evaluates_is_found(self):
        for line in ('eval "$x"', 'n=$(cat f)\nm=$((n + 1))', "m=$(($(cat f) + 1))", 'x=$1\ny=$((x))', '[[ $x -gt 1 ]]', "let n=1",
                     '. "$out/file"', 'sh -c "$x"', 'test -v "$x"', 'printf -v x "$y"', 'trap "$x" TERM'):
            self.assertTrue(list(faults_of(line + "\n")), line)
        for line in ("n=0\nn=$((n + 1))", "b=$(date +%s)\ne=$((b + 5))", 'n=$(launch_number N "$N")\nm=$((n + 1))', "# eval"):
            self.assertEqual(list(faults_of(line + "\n")), [], line)


# What a shell runs although it looks like text. Sourced files are the tree's own, and night.conf, which is root's.
EVALUATES = re.compile(r"^[^#]*(\beval\b|\[\[\s|\blet\s|\bdeclare\s|\btypeset\s|\btest -v|\[ -v|printf -v|\btrap \"|\bsh -c[a-z]* [\"$])")
SOURCES = re.compile(r"(?m)^\s*\. (.+)$")
OWN_SOURCES = ('"$home/scripts/launch.sh"', '"$home/scripts/image/roots.sh"', '"$config"')
COUNTED = re.compile(r"\$\(\(((?:[^()]|\([^()]*\))*)\)\)")
NUMBER = r"(?:\d+|\$\(\(.*\)\)|\$\(date \+%s\)|\$\((?:launch_number|digits_of) .*\)|\$[A-Za-z_]\w*)"


def faults_of(text):
    """Lines that run what was read, or count with what may be no number. Shells evaluate names in arithmetic, too."""
    for line in text.splitlines():
        if EVALUATES.search(line):
            yield f"evaluates: {line.strip()}"
    for named in SOURCES.findall(text):
        if named not in OWN_SOURCES:
            yield f"sources {named}"
    for counted in COUNTED.findall(text):
        inside = counted.replace("$(date +%s)", "0")
        if "$" in inside:
            yield f"counts with {counted}"
        names = re.findall(r"[A-Za-z_]\w*", inside)
        for name in names:  # grows: what a name is a copy of is looked at too
            values = re.findall(rf"(?m)(?:^|[\s;{{(]){name}=(.*)$", text)
            if not values:
                yield f"counts with {name}, which comes from outside"
            for value in values:
                found = re.match(NUMBER + r"(?:[\s;)]|$)", value)
                if not found:
                    yield f"counts with {name}, which is {value}"
                elif re.match(r"\$[A-Za-z_]", value) and value[1:].strip() not in names:
                    names.append(value[1:].strip())


if __name__ == "__main__":
    program.main()
