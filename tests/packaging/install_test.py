"""cmake --install, and then the prefix moved elsewhere: everything runs from there, and nothing from where it was built."""
import json
import pathlib
import re

from installing import BUILD, HIDDEN, SOURCE, TORCH, TreeTest, cached, install_libtorch, mapped, program, run, side_by_side
from program import ENDLESS, MPIRUN, small, until

load_tests = side_by_side.loader(threads=3)
PLACES = ("bin/nightreel", "libexec/nightreel/nightreel-engine", "libexec/nightreel/nightreel-hdf5", "share/man/man1/nightreel.1.gz",
          "share/bash-completion/completions/nightreel", "share/zsh/vendor-completions/_nightreel",
          "share/fish/vendor_completions.d/nightreel.fish", "lib/systemd/system/nightreel-night.service",
          "lib/systemd/system/nightreel-night.timer", "share/nightreel/jobs/demo.jsonl", "share/nightreel/job.schema.json",
          "share/nightreel/models/shapes/model_index.json", "share/nightreel/models/shapes-i2v/model_index.json",
          "share/nightreel/jobs/pictures/shapes/red_circle.png", "share/nightreel/scripts/mpirun/run.sh",
          "share/nightreel/scripts/k8s-mpijob/overlays/cpu-demo/kustomization.yaml", "share/doc/nightreel/README.md",
          "share/doc/nightreel/docs/running.md", "share/doc/nightreel/copyright")


def children(pid):
    found = []
    for tasks in pathlib.Path("/proc").glob(f"{pid}/task/*/children"):
        try:
            found += [int(child) for child in tasks.read_text().split()]
        except (FileNotFoundError, ProcessLookupError):  # a thread that ended meanwhile
            pass
    return found


class Installed(TreeTest):
    @classmethod
    def make(cls, tree):
        cls.made_for = tree / "made for"
        run("cmake", "--install", BUILD, "--prefix", cls.made_for, "--component", "nightreel")
        if cached("NIGHTREEL_BUNDLE_TORCH") == "ON":
            install_libtorch(cls.made_for)
        cls.prefix = tree / "moved here"
        cls.made_for.rename(cls.prefix)
        cls.program = cls.prefix / "bin/nightreel"
        cls.shapes = cls.prefix / "share/nightreel/models/shapes"

    def test_everything_is_in_its_place_and_names_its_own_tree(self):
        for place in PLACES:
            self.assertTrue((self.prefix / place).is_file(), place)
        data = self.made_for / "share/nightreel"
        for name in ("lib/systemd/system/nightreel-night.service", "share/nightreel/scripts/nightly/nightreel.cron"):
            self.assertIn(f"{data}/scripts/nightly/night.sh", (self.prefix / name).read_text())
        for script in (self.prefix / "share/nightreel/scripts/slurm").iterdir():
            self.assertIn(f"LAUNCH_HOME:-{data}}}", script.read_text())
        for file in self.prefix.glob("share/nightreel/scripts/**/*"):
            if file.is_file():
                source = SOURCE / "scripts" / file.relative_to(self.prefix / "share/nightreel/scripts")
                self.assertEqual(file.stat().st_mode & 0o111, source.stat().st_mode & 0o111, file)

    def test_run_paths_are_relative_and_every_library_is_found(self):
        if cached("NIGHTREEL_BUNDLE_TORCH") != "ON":
            self.skipTest("LibTorch stays where it is")
        for name in ("bin/nightreel", "libexec/nightreel/nightreel-engine", "libexec/nightreel/nightreel-hdf5"):
            dynamic = run("readelf", "-d", self.prefix / name)
            for path in re.findall(r"R(?:UN)?PATH.*\[(.*)\]", dynamic):
                self.assertEqual([part for part in path.split(":") if not part.startswith("$ORIGIN/")], [], name)
        ended = self.call("ldd", self.prefix / "libexec/nightreel/nightreel-engine")
        self.assertNotIn("not found", ended.out)
        names = {file.name for file in (self.prefix / "lib/nightreel").rglob("*.so*")}
        self.assertIn("libtorch_cpu.so", names)
        self.assertEqual({name for name in names if "python" in name}, set(), "what nobody needs")

    def test_commands_of_both_programs_work(self):
        ended = self.call(self.program, "version", "--json")
        self.assert_ended(ended, 0)
        self.assertGreaterEqual(json.loads(ended.out).keys(), {"nightreel", "commit", "libtorch", "mpi"})
        video = self.folder / "a.mp4"
        ended = self.call(self.program, "generate", "--model", self.shapes, "--prompt", "a red circle", "-o", video,
                          "--num-inference-steps", 1, "--num-frames", 5, "--height", 16, "--width", 16)
        self.assert_ended(ended, 0)
        self.assertTrue(video.exists())

    def test_the_list_for_the_model_that_wants_pictures_finds_them(self):
        data = self.prefix / "share/nightreel"
        ended = self.call(self.program, "submit", data / "jobs/shapes_i2v.jsonl", "--model", data / "models/shapes-i2v", "--out",
                          self.out)
        self.assert_ended(ended, 0)

    def test_the_launch_script_runs_the_tree_that_it_lies_in(self):
        jobs = self.write_jobs(small("a"), small("b"))
        ended = self.call(self.prefix / "share/nightreel/scripts/mpirun/run.sh", jobs, NIGHTREEL_MODEL=str(self.shapes),
                          NIGHTREEL_OUT=str(self.out), NIGHTREEL_THREADS="1", LAUNCH_RANKS="2",
                          LAUNCH_MPIRUN_OPTIONS="--oversubscribe")
        self.assert_ended(ended, 0)
        self.assertEqual(sorted(file.name for file in self.out.glob("videos/*.mp4")), ["a.mp4", "b.mp4"])
        commands = [json.loads(file.read_text())["generate"] for file in self.out.glob("videos/*.json")]
        self.assertEqual([line for line in commands if str(SOURCE / "models") in line], [])

    def test_rank_and_renderer_map_nothing_of_the_build(self):
        jobs = self.write_jobs(small("long", **ENDLESS))
        process = program.start([*MPIRUN, "-np", 1, self.program, "run", jobs, "--model", self.shapes, "--out", self.out,
                                 "--threads", 1])
        self.addCleanup(program.finish, process)
        self.addCleanup(process.terminate)
        renderer = until(lambda: [below for rank in children(process.pid) for below in children(rank)
                                  if (self.prefix / "libexec").as_posix() in str(pathlib.Path(f"/proc/{below}/exe").resolve())],
                         240)
        self.assertTrue(renderer)
        self.assertTrue(until(lambda: any(file.name == "libtorch_cpu.so" for file in mapped(renderer[0])), 240))
        ranks = [rank for rank in children(process.pid) if renderer[0] in children(rank)]
        files = mapped(renderer[0]) | mapped(ranks[0])
        if cached("NIGHTREEL_BUNDLE_TORCH") == "ON":
            self.assertEqual([file for file in files if any(file.is_relative_to(hidden) for hidden in HIDDEN)
                              or file.is_relative_to(TORCH.parent)], [])


if __name__ == "__main__":
    program.main()
