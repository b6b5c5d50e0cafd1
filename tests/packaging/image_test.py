"""scripts/image: Dockerfile and rootfs, which stands in for it where there is no container engine, are the same two stages
with nothing besides; what a stage needs is in its context. buildah carries the Dockerfile out."""
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import unittest

from installing import SOURCE, program

FOLDER = SOURCE / "scripts/image"
STAGES = ["build-stage", "runtime-stage"]


def instructions(text):
    """(word, rest) of each, as Docker reads them: lines that end with a backslash go on, comments are left out."""
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    return [tuple(line.split(maxsplit=1)) for line in lines.replace("\\\n", " ").splitlines() if line.strip()]


def command(run):
    """The words of a RUN without its mounts and variables."""
    return [word for word in shlex.split(run) if not word.startswith("--mount=") and not re.match(r"[A-Z_]+=", word)]


class Image(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dockerfile = instructions((FOLDER / "Dockerfile").read_text())

    def of(self, word):
        return [rest for name, rest in self.dockerfile if name == word]

    def test_each_stage_of_the_dockerfile_is_one_script_that_rootfs_runs_too(self):
        self.assertEqual([[pathlib.Path(words[0]).name, *words[1:]] for words in map(command, self.of("RUN"))],
                         [["build-stage", "/src", "/package"], ["runtime-stage", "/package/nightreel_*.deb"]])
        rootfs = (FOLDER / "rootfs").read_text()
        ran = re.findall(r"^ *root_run \S+ (\S*-stage)(.*)$", rootfs, re.MULTILINE)
        self.assertEqual([pathlib.Path(path).name for path, _ in ran], STAGES)
        self.assertEqual(ran[0][1], " /src /package")
        for name in STAGES:
            self.assertTrue(os.access(FOLDER / name, os.X_OK), name)

    def test_both_start_from_the_same_debian_and_the_second_stage_from_a_bare_one(self):
        release = re.search(r"debootstrap .* (\w+) \"\$1\"", (FOLDER / "roots.sh").read_text())[1]
        self.assertEqual(self.of("FROM"), [f"debian:{release} AS build", f"debian:{release}-slim"])
        runtime = self.of("RUN")[1]
        self.assertIn("--mount=type=bind,from=build,source=/package,target=/package", runtime)
        self.assertEqual(self.of("USER"), ["1000:1000"], "the manifests' user")
        self.assertIn("useradd --uid 1000 --gid 1000", (FOLDER / "runtime-stage").read_text())

    def test_the_context_holds_every_file_of_the_repository(self):
        """What is left out is what git does not keep."""
        ignored = (FOLDER / "Dockerfile.dockerignore").read_text().split()
        kept = subprocess.run(["git", "-C", SOURCE, "ls-files"], capture_output=True, text=True)
        if kept.returncode != 0:
            self.skipTest("no git checkout")
        files = kept.stdout.splitlines()
        self.assertIn("scripts/image/build-stage", files)
        self.assertEqual([file for file in files if file.split("/")[0] in ignored], [])
        for source in re.findall(r"--mount=type=bind,source=([^,]+)", " ".join(self.of("RUN"))):
            self.assertIn(source, files)


# In the place of what takes an hour: what each stage was given, and as whom the image runs.
STUBS = {
    "build-stage": 'test -x "$1/scripts/demo" && mkdir "$2" && echo "made with CUDA $NIGHTREEL_CUDA" >"$2/nightreel_0.deb"',
    "runtime-stage": 'mkdir -p /home/mpiuser && { cat "$1"; ls /src || :; } >/home/mpiuser/seen 2>&1'}


@unittest.skipIf(os.geteuid() != 0, "buildah --isolation chroot needs root")
class Built(program.ProgramTest):
    """The Dockerfile read and carried out by a builder without an engine, from a base image of nothing but a shell."""

    def buildah(self, *words):
        done = subprocess.run(["buildah", "--root", self.folder / "storage", "--runroot", self.folder / "run", "--storage-driver", "vfs",
                               *words], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout.strip()

    def make_base(self, *names):
        base = self.folder / "base"
        (base / "bin").mkdir(parents=True)
        shutil.copy2(shutil.which("busybox"), base / "bin/busybox")
        for tool in ("sh", "cat", "ls", "mkdir", "test"):
            (base / "bin" / tool).symlink_to("busybox")
        container = self.buildah("from", "scratch")
        self.buildah("add", "-q", container, base, "/")
        try:
            self.buildah("run", "--isolation", "chroot", container, "--", "test", "-d", "/bin")
        except AssertionError as why:  # "/" is no mount, or mounting is not allowed
            self.skipTest(f"buildah can run nothing on this machine: {why}")
        for name in names:
            self.buildah("commit", "-q", container, f"docker.io/library/{name}")

    def test_the_dockerfile_hands_each_stage_what_it_needs(self):
        release = re.search(r"FROM (\S+) AS", (FOLDER / "Dockerfile").read_text())[1]
        self.make_base(release, f"{release}-slim")
        context = self.folder / "context"
        shutil.copytree(SOURCE / "scripts", context / "scripts", symlinks=True)
        for name, line in STUBS.items():
            (context / "scripts/image" / name).write_text(f"#!/bin/sh\nset -eu\n{line}\n")
        self.buildah("bud", "-q", "--isolation", "chroot", "--network", "host", "--pull-never", "--build-arg", "NIGHTREEL_CUDA=OFF",
                     "-f", context / "scripts/image/Dockerfile", "-t", "made", context)
        container = self.buildah("from", "--pull-never", "made")
        seen = self.buildah("run", "--isolation", "chroot", container, "--", "cat", "/home/mpiuser/seen")
        self.assertIn("made with CUDA OFF", seen)
        self.assertIn("/src: No such file", seen, "the first stage's files are not in the image")
        config = json.loads(self.buildah("inspect", "--type", "image", "made"))["OCIv1"]["config"]
        self.assertEqual((config["User"], config["Cmd"]), ("1000:1000", ["nightreel", "--help"]))


if __name__ == "__main__":
    program.main()
