"""What the tests of installed trees share: trees in the build's own file system, gigabytes of LibTorch as hard links in
them, and programs started with the build tree and the virtual environment out of reach."""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.path[:0] = [f"{os.environ['NIGHTREEL_SOURCE_DIR']}/tests/{folder}" for folder in ("e2e", "support")]
import program  # noqa: E402  (found by the line above)
import side_by_side  # noqa: E402,F401
from program import BUILD, SOURCE  # noqa: E402,F401


def cached(name):
    (value,) = re.findall(rf"^{name}:\w+=(.*)$", (BUILD / "CMakeCache.txt").read_text(), re.MULTILINE)
    return value


TORCH = pathlib.Path(cached("NIGHTREEL_TORCH_ROOT"))
# What an installed tree must do without.
HIDDEN = [path for path in (BUILD / "bin", TORCH, TORCH.parent / "nvidia") if path.exists()]


def run(*command, **more):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, env=program.without_redis(**more))
    if done.returncode != 0:
        raise RuntimeError(f"{command}: {done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout


def install_libtorch(prefix):
    """The component by its own rules; its files are links at first, then hard links where the file system allows it."""
    run("cmake", "--install", BUILD, "--prefix", prefix, "--component", "libtorch", CMAKE_INSTALL_MODE="ABS_SYMLINK")
    for link in [path for path in prefix.rglob("*") if path.is_symlink()]:
        target = link.resolve()
        link.unlink()
        try:
            os.link(target, link)
        except OSError:  # another file system
            shutil.copy2(target, link)


def out_of_reach():
    """Words before a command that hide HIDDEN from it; none where that is not allowed."""
    unshare = ["unshare", "--mount", "sh", "-ceu"]
    if subprocess.run([*unshare, "mount -t tmpfs none /mnt"], capture_output=True).returncode != 0:
        return []
    hide = "; ".join(f"mount -t tmpfs none '{path}'" for path in HIDDEN)
    return [*unshare, f'{hide}; exec "$@"', "sh"]


def mapped(pid):
    """The files that a process has mapped."""
    lines = pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines()
    return {pathlib.Path(line.split(maxsplit=5)[5]) for line in lines if "/" in line}


class TreeTest(program.ProgramTest):
    """One tree for all tests of a class, which leave it as it is: `make` fills it."""
    @classmethod
    def setUpClass(cls):
        folder = tempfile.mkdtemp(prefix="tree-", dir=BUILD)  # hard links need one file system
        cls.addClassCleanup(shutil.rmtree, folder)
        cls.tree = pathlib.Path(folder)
        cls.make(cls.tree)

    def call(self, *command, timeout=120, **more):
        """Without anything of the caller's environment but what finds programs."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        done = subprocess.run([*out_of_reach(), *map(str, command)], capture_output=True, text=True, errors="replace",
                              timeout=timeout, env={**kept, **more}, cwd=self.folder)
        return program.Ended(done.returncode, done.stdout, done.stderr)
