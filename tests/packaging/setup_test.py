"""scripts/setup: what each way of calling it asks of apt and pip, in which order they are called whatever came before, and
that requirements/libtorch.txt is what a program without CUDA loads. apt, dpkg and Python are stand-ins: nothing is installed."""
import os
import pathlib
import re
import shutil
import subprocess
import unittest

from installing import SOURCE, TORCH, program, run
from program import until

REQUIREMENTS = SOURCE / "scripts/requirements"
TOOLS = ["cat", "chmod", "cp", "dirname", "grep", "ln", "mkdir", "rm", "sed", "sh", "sha256sum", "sleep"]
STUBS = {
    "id": "echo 0",
    "dpkg-query": 'for name; do :; done; ! grep -qx "$name" "$STATE/installed" || echo install ok installed',
    "apt-get": '''echo "$*" >>"$STATE/apt"
if [ -e "$STATE/apt fails" ]; then
  until [ -e "$STATE/pip.pid" ]; do sleep 0.05; done
  exit 100
fi
if [ "$1" = install ]; then for name; do echo "$name" >>"$STATE/installed"; done; fi''',
    "python3": 'mkdir -p "$3/bin"; cp "$STATE/pip" "$3/bin/python"',
    "nvidia-smi": '[ -e "$STATE/gpu" ] && echo "GPU 0: a stand-in"',
    "ldconfig": ":"}
PIP = '''#!/bin/sh
if [ -e "$STATE/pip hangs" ]; then echo $$ >"$STATE/pip.pid"; exec sleep 600; fi
if [ -e "$STATE/pip waits" ]; then until [ -e "$STATE/command ran" ]; do sleep 0.05; done; fi
[ ! -e "$STATE/pip fails" ] || exit 1
echo "$*" >>"$STATE/asked"
'''


def section(first, last):
    """The packages of debian.txt from one heading to the line before another."""
    text = (REQUIREMENTS / "debian.txt").read_text().partition(f"\n# {first}\n")[2]
    return set(re.sub("#.*", "", text.partition(f"\n# {last}\n")[0]).split())


def is_running(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:  # gone, before the open or between it and the read
        return False


class Setup(program.ProgramTest):
    def setUp(self):
        super().setUp()
        self.tree, self.state, self.path = (self.folder / name for name in ("tree", "state", "path"))
        (self.tree / "scripts").mkdir(parents=True)
        shutil.copy2(SOURCE / "scripts/setup", self.tree / "scripts")
        shutil.copytree(REQUIREMENTS, self.tree / "scripts/requirements")
        self.state.mkdir()
        self.path.mkdir()
        for name in TOOLS:
            (self.path / name).symlink_to(shutil.which(name))
        for name, text in STUBS.items():
            (self.path / name).write_text(f"#!/bin/sh\n{text}\n")
            (self.path / name).chmod(0o755)
        (self.state / "pip").write_text(PIP)
        (self.state / "pip").chmod(0o755)
        (self.state / "installed").touch()

    def setup(self, *words, code=0, **environment):
        """What one call asks for: (packages, files of wheels)."""
        for name in ("apt", "asked"):
            (self.state / name).write_text("")
        done = subprocess.run(["/bin/sh", self.tree / "scripts/setup", *words], capture_output=True, text=True, timeout=120,
                              env={"PATH": str(self.path), "STATE": str(self.state), **environment})
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        self.said = done.stdout + done.stderr
        apt = [line.split() for line in (self.state / "apt").read_text().splitlines() if line.startswith("install ")]
        pip = (self.state / "asked").read_text()
        return ({name for words in apt for name in words[1:] if not name.startswith("-")},
                {pathlib.Path(file).stem for file in re.findall(r"-r (\S+)", pip)})

    def calls(self, name):
        return (self.state / name).read_text().splitlines()

    @unittest.skipIf(list(pathlib.Path("/dev").glob("nvidia[0-9]*")), "this machine has a GPU")
    def test_the_demo_then_everything_asks_for_each_thing_once(self):
        self.assertEqual(self.setup("--demo"), (section("run", "package"), {"libtorch"}))
        self.assertIn("no GPU is here", self.said)
        self.assertEqual(self.calls("asked"), [line for line in self.calls("asked") if "--no-compile" in line])
        self.assertEqual(self.setup("--demo"), (set(), set()))
        self.assertEqual(self.setup(), (section("package", "fuzz"), {"libtorch-cuda", "nvcc", "reference"}))
        self.assertEqual(self.setup(), (set(), set()))
        self.assertEqual(self.setup("--demo"), (set(), set()))

    def test_everything_then_the_demo_asks_for_nothing_more(self):
        self.assertEqual(self.setup(), (section("run", "fuzz"), {"libtorch", "libtorch-cuda", "nvcc", "reference"}))
        self.assertEqual(self.calls("apt")[1], "install -y -q --no-install-recommends python3 python3-venv", "Python comes first")
        self.assertEqual([line for line in self.calls("apt") if line.startswith("update")], ["update -q"])
        for more in ({}, {"NIGHTREEL_CUDA": "ON"}, {"NIGHTREEL_CUDA": "OFF"}):
            self.assertEqual(self.setup("--demo", **more), (set(), set()))

    def test_clang_comes_for_fuzzing_alone(self):
        self.setup()
        self.assertEqual(self.setup("--fuzz"), (section("fuzz", ""), set()))
        self.assertEqual(self.setup("--fuzz"), (set(), set()))

    def test_without_tests_and_without_cuda(self):
        build = section("run", "tests")
        self.assertEqual(self.setup(NIGHTREEL_REFERENCE="OFF", NIGHTREEL_CUDA="OFF"), (build, {"libtorch"}))
        self.assertEqual(self.setup(NIGHTREEL_REFERENCE="OFF"), (set(), {"libtorch-cuda", "nvcc"}))
        shutil.rmtree(self.tree / ".venv")
        # `import torch` in the tests loads CUDA's libraries.
        self.assertEqual(self.setup(NIGHTREEL_CUDA="OFF", NIGHTREEL_PACKAGES="OFF"),
                         (set(), {"libtorch", "libtorch-cuda", "reference"}))
        shutil.rmtree(self.tree / ".venv")
        self.assertEqual(self.setup(NIGHTREEL_TORCH_ROOT="/opt/libtorch", NIGHTREEL_REFERENCE="OFF"), (set(), {"nvcc"}))

    def test_a_list_that_changed_is_installed_again(self):
        self.setup()
        with (self.tree / "scripts/requirements/reference.txt").open("a") as file:
            file.write("one-more==1.0\n")
        self.assertEqual(self.setup(), (set(), {"reference"}))

    def test_a_gpu_or_a_word_brings_cuda_to_the_demo(self):
        (self.state / "gpu").touch()
        self.setup("--cuda")
        self.assertIn("\nON\n", f"\n{self.said}")
        self.assertEqual(self.setup("--demo")[1], {"libtorch", "libtorch-cuda", "nvcc"})
        self.setup("--cuda", NIGHTREEL_CUDA="OFF")
        self.assertIn("\nOFF\n", f"\n{self.said}")

    def test_a_command_runs_while_the_wheels_come_in_and_not_when_they_are_there(self):
        (self.state / "pip waits").touch()
        command = ["sh", "-c", ': >"$STATE/command ran"']
        self.setup("--demo", *command)
        self.assertTrue((self.state / "command ran").exists())
        (self.state / "command ran").unlink()
        self.setup("--demo", *command)
        self.assertFalse((self.state / "command ran").exists())

    def test_what_failed_is_said_and_asked_for_again(self):
        (self.state / "pip fails").touch()
        self.setup("--demo", code=3, NIGHTREEL_CUDA="OFF")
        self.assertIn("setup: libtorch did not come into .venv", self.said)
        (self.state / "pip fails").unlink()
        self.assertEqual(self.setup("--demo", NIGHTREEL_CUDA="OFF"), (set(), {"libtorch"}))

    def test_pip_does_not_outlive_a_setup_that_failed(self):
        (self.state / "installed").write_text("python3\npython3-venv\n")
        (self.state / "apt fails").touch()
        (self.state / "pip hangs").touch()
        self.setup(code=100)
        pid = int((self.state / "pip.pid").read_text())
        self.assertTrue(until(lambda: not is_running(pid)), "pip goes on")

    def test_only_root_installs_packages_and_all_that_is_missing_is_listed(self):
        (self.path / "id").write_text("#!/bin/sh\necho 1000\n")
        self.assertEqual(self.setup(code=3), (set(), set()))
        self.assertLessEqual(section("run", "fuzz"), set(self.said.split()))


class Requirements(unittest.TestCase):
    @unittest.skipUnless(shutil.which("readelf") and list(TORCH.parent.glob("torch-*.dist-info")), "LibTorch is no wheel")
    def test_libtorch_txt_names_the_wheels_that_libtorch_cpu_loads_and_no_other(self):
        places = {file.name: file for folder in (TORCH / "lib", *TORCH.parent.glob("nvidia/*/lib")) for file in folder.iterdir()}
        seen, queue = set(), ["libtorch_cpu.so"]
        while queue:
            name = queue.pop()
            if name in places and name not in seen:
                seen.add(name)
                queue += re.findall(r"\(NEEDED\).*\[(.*)\]", run("readelf", "-d", places[name]))
        owners = set()
        for record in TORCH.parent.glob("*.dist-info/RECORD"):
            files = {pathlib.PurePath(line.partition(",")[0]) for line in record.read_text().splitlines()}
            if files & {places[name].relative_to(TORCH.parent) for name in seen}:
                owners.add(record.parent.name.partition("-")[0].replace("_", "-"))
        named = set(re.findall(r"^([\w-]+)==", (REQUIREMENTS / "libtorch.txt").read_text(), re.MULTILINE))
        self.assertEqual(owners, named)

    def test_no_package_or_wheel_is_named_twice(self):
        for files in (["debian.txt"], sorted(file.name for file in REQUIREMENTS.iterdir() if file.name != "debian.txt")):
            names = [name for file in files for name in re.findall(r"^[\w.+-]+", (REQUIREMENTS / file).read_text(), re.MULTILINE)]
            self.assertEqual(len(names), len({name.lower() for name in names}), files)


if __name__ == "__main__":
    program.main()
