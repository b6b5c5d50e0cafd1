"""An OUT that version 0.1 left half done (out-0.1.tar.xz, make_out.py) is finished by this version: nothing is lost, nothing is
rendered twice, and a half-done video goes on where it was.
"""
import json
import pathlib
import sys
import tarfile

import h5py
import numpy

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
import program
from program import MPIRUN, NIGHTREEL, SHAPES, nightreel
from redis_servers import Server

LEFT = pathlib.Path(__file__).resolve().parent / "out-0.1.tar.xz"
DONE, HALF, OTHERS = ["done-1", "done-2"], ["half-1", "half-2"], ["delayed", *(f"wait-{number}" for number in range(1, 6))]
TOLERANCE = 2e-4  # of latents: a video that was stopped and one that was not, and two versions of the program


class Compat(program.ProgramTest):
    def setUp(self):
        super().setUp()
        with tarfile.open(LEFT) as tar:
            tar.extractall(self.folder, filter="data")
        self.out = self.folder / "out"
        self.moved()

    def moved(self):
        """Jobs belong to an OUT by its path, so the one that the archive was packed from is written over."""
        server = Server(self.out / "queue/data")
        try:
            client = server.client()
            keys = client.keys("nightreel:{default}:job:*")
            self.assertEqual(len(keys), 11)
            for key in keys:
                client.hset(key, "out", str(self.out))
        finally:
            server.kill()  # what it has answered is on disk

    def sidecar(self, name):
        return json.loads((self.out / f"videos/{name}.json").read_text())

    def latents(self, file):
        with h5py.File(file) as archive:
            return archive["latents"][:]

    def states(self):
        said = nightreel("status", "--json", "--all", "--out", self.out)
        return {one["id"]: one["state"] for one in json.loads(said.out)["jobs"]}

    def fresh(self, name):
        """The latents of the same video, made in one go."""
        line = self.sidecar(name)["generate"].split(" -o ")[0]
        archive = self.folder / f"{name}.h5"
        command = f"{NIGHTREEL} {line.split(' ', 1)[1]} -o {self.folder}/{name}.mp4 --archive latents --archive-file {archive}"
        ended = program.call(["sh", "-c", command], timeout=300)
        self.assert_ended(ended, 0)
        return self.latents(archive)

    def test_the_next_run_finishes_it(self):
        before = {name: (self.out / f"videos/{name}.mp4").stat() for name in DONE}
        self.assertEqual({name: self.states()[name] for name in ("failed", "delayed", *HALF, *DONE)},
                         {"failed": "failed", "delayed": "delayed", **dict.fromkeys(HALF, "pending"),
                          **dict.fromkeys(DONE, "done")})
        ended = program.call([*MPIRUN, "-np", 2, NIGHTREEL, "run", "--model", SHAPES, "--out", self.out], timeout=300)
        self.assert_ended(ended, 0)
        states = self.states()
        self.assertEqual(states.pop("failed"), "failed")
        self.assertEqual(states, dict.fromkeys([*DONE, *HALF, *OTHERS], "done"))
        for name in DONE:
            now = (self.out / f"videos/{name}.mp4").stat()
            self.assertEqual((now.st_ino, now.st_mtime_ns), (before[name].st_ino, before[name].st_mtime_ns), name)
        for name in (*HALF, "delayed"):
            self.assertGreater(self.sidecar(name)["resumed_step"], 0, name)
        for name in OTHERS[1:]:
            self.assertEqual(self.sidecar(name)["resumed_step"], 0, name)
        self.assertNotIn("saved-state", ended.log)
        for name in HALF:
            made = self.latents(self.out / f"archive/{name}.h5")
            self.assertLessEqual(float(numpy.abs(made - self.fresh(name)).max()), TOLERANCE, name)


if __name__ == "__main__":
    program.main()
