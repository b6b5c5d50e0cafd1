"""What the tests of whole programs on the computing stand-in share: nightreel, unmodified, whose engine finds a GPU."""
import json
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(os.environ["NIGHTREEL_SOURCE_DIR"]) / "tests/e2e"))
import h5py  # noqa: E402
import program  # noqa: E402  (found by the line above)
from program import BUILD, MPIRUN  # noqa: E402

LIBRARIES = BUILD / "lib/stand_in"
ENGINE = """#!/bin/sh
LD_LIBRARY_PATH='{libraries}' LD_PRELOAD='{libraries}/libstand_in_{kind}.so' TORCH_CPP_LOG_LEVEL=ERROR exec '{engine}' "$@"
"""
CARD = 85031714816  # bytes of a real card of "80 GB"


def gpu(number, **more):
    return {"uuid": f"GPU-{number}{number}{number}", "name": "Stand-in GPU", "memory": CARD, **more}


def preloaded(kind, **variables):
    """The environment of a process that finds a stand-in GPU."""
    return program.without_redis(LD_LIBRARY_PATH=str(LIBRARIES), LD_PRELOAD=f"{LIBRARIES}/libstand_in_{kind}.so",
                                 TORCH_CPP_LOG_LEVEL="ERROR", **variables)


class StandInTest(program.ProgramTest):
    """`self.program` is nightreel, on a host with two GPUs unless gpus() says otherwise."""
    kind = "computing"

    def setUp(self):
        super().setUp()
        self.program = self.copy_of_nightreel()
        engine = self.program.parent / "nightreel-engine"
        engine.write_text(ENGINE.format(libraries=LIBRARIES, kind=self.kind, engine=BUILD / "bin/nightreel-engine"))
        engine.chmod(0o755)
        self.gpus(gpu(1), gpu(2))

    def gpus(self, *gpus):
        (self.folder / "nvml.json").write_text(json.dumps({"default": gpus, "cuda": 13000}))

    def environment(self, **variables):
        return {"NIGHTREEL_NVML_LIBRARY": str(BUILD / "lib/libfake_nvml.so"),
                "NIGHTREEL_FAKE_NVML": str(self.folder / "nvml.json"), "STAND_IN_FOLDER": str(self.folder),
                "OMP_NUM_THREADS": "1", **variables}

    def call(self, *words, timeout=900, **variables):
        return program.call([self.program, *words], timeout=timeout, env=self.environment(**variables))

    def mpirun(self, ranks, *words, timeout=900, **variables):
        return program.call([*MPIRUN, "-np", ranks, self.program, *words], timeout=timeout,
                            env=self.environment(**variables))

    def sidecar(self, name, out=None):
        return json.loads(((out or self.out) / f"videos/{name}.json").read_text())

    def archived(self, path, what="latents"):
        with h5py.File(path) as archive:
            return archive[what][...]
