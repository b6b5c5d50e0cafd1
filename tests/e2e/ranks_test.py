"""Which rank gets which device, through `mpirun … nightreel run`: the table of launches, right and wrong.

NVML is the stand-in of tests/cluster, so a machine without a GPU shows four; a host is a name (NIGHTREEL_HOSTNAME);
the renderers are stand_in_engine.py, beside a copy of nightreel. What a rank decides, says and refuses is its own.
"""
import concurrent.futures
import json
import socket

import program
from program import BUILD, MPIRUN, NIGHTREEL, SHAPES


def gpu(name):
    return {"uuid": f"GPU-{name}", "name": "Stand-in GPU"}


FOUR = [gpu("a0"), gpu("a1"), gpu("a2"), gpu("a3")]
OTHER = [gpu("b0"), gpu("b1"), gpu("b2"), gpu("b3")]
SLICED = {"default": [gpu("a0") | {"mig": [{"uuid": "MIG-a0"}, {"uuid": "MIG-a1"}]}]}


def on(host, ranks, out="out", **variables):
    """Ranks of one app context of mpirun, with variables of their own; OUT below the launch's folder."""
    return ranks, out, {"NIGHTREEL_HOSTNAME": host, **variables}


# name: app contexts, flags, what NVML reports, and the devices of the ranks in order or the parts of the one line. The
# whole table of who gets which GPU, and who none, is tests/cluster/gpu_map_test.cpp's; here is that it reaches the ranks.
LAUNCHES = {
    "two hosts with GPUs of their own": (
        [on("a", 2), on("b", 2)], ["--device", "cuda", "--expect-ranks", "4"], {"hosts": {"a": FOUR, "b": OTHER}},
        ["GPU-a0", "GPU-a1", "GPU-b0", "GPU-b1"]),
    "a launcher that binds one GPU to each rank": (
        [on("a", 1, CUDA_VISIBLE_DEVICES="3"), on("a", 1, CUDA_VISIBLE_DEVICES="GPU-a1")], [], {"default": FOUR},
        ["GPU-a3", "GPU-a1"]),
    "the CPU was asked for": ([on("a", 2)], ["--device", "cpu"], {"default": FOUR}, ["cpu", "cpu"]),
    "more ranks than GPUs, shared": ([on("a", 2)], ["--share-gpu"], {"default": FOUR[:1]}, ["GPU-a0", "GPU-a0"]),
    "slices of one GPU": ([on("a", 2)], [], SLICED, ["MIG-a0", "MIG-a1"]),
    "one GPU shared, for one video": (
        [on("a", 2)], ["--share-gpu", "--ranks-per-video", 2], {"default": [gpu("a0")]},
        ("ranks 0, 1 on host a share the GPU GPU-a0", "--ranks-per-video 2 needs a GPU for each rank")),
    "slices of one GPU, for one video": (
        [on("a", 2)], ["--ranks-per-video", 2], SLICED,
        ("ranks 0, 1 on host a have slices of the GPU GPU-a0", "--ranks-per-video 2 needs a GPU for each rank")),
    "no way between renderers": (
        [on("a", 2, NIGHTREEL_STAND_IN="GPU-a0:unmet,GPU-a1:unmet")], [], {"default": FOUR}, ["GPU-a0", "GPU-a1"]),
    "no way to one renderer": (
        [on("a", 2, NIGHTREEL_STAND_IN="GPU-a1:unmet")], [], {"default": FOUR}, ["GPU-a0", "GPU-a1"]),
    "the first renderer dies when it is to meet the others": (
        [on("a", 2, NIGHTREEL_STAND_IN="GPU-a0:lost")], [], {"default": FOUR}, ["GPU-a0", "GPU-a1"]),
    "another renderer dies when it is to meet the first": (
        [on("a", 2, NIGHTREEL_STAND_IN="GPU-a1:lost")], [], {"default": FOUR}, ["GPU-a0", "GPU-a1"]),
    "no way between renderers, for one video": (
        [on("a", 2, NIGHTREEL_STAND_IN="GPU-a1:unmet")], ["--ranks-per-video", 2], {"default": FOUR},
        ("rank 1 on host a: no way to the others",)),
    "a renderer that dies twice while it loads": (
        [on("a", 2, NIGHTREEL_STAND_IN="GPU-a1:dies:2")], ["--load", "alone"], {"default": FOUR}, ["GPU-a0", "GPU-a1"]),
    "a renderer that dies three times while it loads": (
        [on("a", 2, NIGHTREEL_STAND_IN="GPU-a1:dies:3")], ["--load", "alone"], {"default": FOUR},
        ("rank 1 on host a: the renderer ended while loading: signal 9",)),
    "a renderer that always dies while it loads, beside one that does not": (
        [on("a", 2, NIGHTREEL_STAND_IN="GPU-a1:dies:9")], ["--load", "alone", "--min-ranks", 1], {"default": FOUR},
        ["GPU-a0", "GPU-a1"]),
    "a model that cannot be loaded": (
        [on("a", 2, NIGHTREEL_STAND_IN="GPU-a1:bad")], [], {"default": FOUR},
        ("rank 1 on host a: the model is torn",)),
    "more ranks than GPUs": (
        [on("a", 2)], [], {"default": FOUR[:1]},
        ("2 ranks for 1 GPU on host a", "ranks 0, 1", "start one rank a GPU, or pass --share-gpu")),
    "a rank without a GPU": (
        [on("a", 2)], [], {"ranks": {"0": FOUR, "1": []}}, ("rank 1 on host a sees no GPU", "CUDA_VISIBLE_DEVICES")),
    "a driver that does not work": (
        [on("a", 2)], [], {"fail": 18}, ("ranks 0, 1 on host a: NVML", "Driver/library version mismatch")),
    "fewer ranks than expected": (
        [on("a", 2)], ["--expect-ranks", "4"], {"default": FOUR},
        ("ranks 0, 1 on host a: --expect-ranks 4, but MPI started 2 ranks", "host file", "-np or --ntasks")),
    "an OUT that one rank does not share": (
        [on("a", 2, out="here"), on("a", 1, out="there")], [], {"default": FOUR},
        ("rank 2 on host a", "there", "rank 0 on host a", "here", "must be on storage that all ranks share")),
}


# Whose engine is started how often; each rank's once where a launch is not named here.
STARTS = {"no way between renderers": (0, 2), "no way to one renderer": (1, 2),
          "no way between renderers, for one video": (1, 2),
          "the first renderer dies when it is to meet the others": (0, 2),
          "another renderer dies when it is to meet the first": (1, 2),
          "a renderer that dies twice while it loads": (1, 3), "a renderer that dies three times while it loads": (1, 3),
          "a renderer that always dies while it loads, beside one that does not": (1, 3)}
# Ranks that share a GPU, and those whose weights are read alone: with one rank a video they have nothing to meet for.
UNMET = {"more ranks than GPUs, shared", "slices of one GPU", "a renderer that dies twice while it loads"}


class Ranks(program.ProgramTest):
    def setUp(self):
        super().setUp()
        self.program = self.with_stand_in_engine()

    def launch(self, name):
        contexts, flags, gpus, _ = LAUNCHES[name]
        folder = self.folder / name
        folder.mkdir()
        (folder / "nvml.json").write_text(json.dumps(gpus))
        words = []
        for ranks, out, variables in contexts:
            words += [":"] if words else []
            words += ["-np", ranks, "env", *(f"{key}={value}" for key, value in variables.items()),
                      self.program, "run", "--model", SHAPES, "--out", folder / out, *flags,
                      "--redis", self.url, "--queue", name.replace(" ", "-").replace(",", "")]
        return program.call([*MPIRUN, *words], env={"NIGHTREEL_NVML_LIBRARY": str(BUILD / "lib/libfake_nvml.so"),
                                                    "NIGHTREEL_FAKE_NVML": str(folder / "nvml.json")})

    def test_launches(self):
        self.url = self.redis()  # hosts without a Redis that all reach are another test's
        # mpirun takes a second to notice that ranks have ended: others start meanwhile.
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            launched = dict(zip(LAUNCHES, pool.map(self.launch, LAUNCHES)))
        for name, ended in launched.items():
            contexts, _, _, expected = LAUNCHES[name]
            with self.subTest(name):
                self.assert_started(name)
                if isinstance(expected, tuple):
                    self.assert_refused(ended, 3, *expected)
                    outs = {out for _, out, _ in contexts}
                    if len(outs) == 1:  # else there is no OUT to say it in
                        summary = self.run_json(self.folder / name / outs.pop())
                        self.assertEqual((summary["exit_code"], f"nightreel: {summary['error']}"), (3, ended.errors[0]))
                    continue
                self.assert_ended(ended, 0)
                ranks = self.run_json(self.folder / name / "out")["ranks"]
                self.assertEqual([rank["device"] for rank in ranks], expected)
                hosts = [variables["NIGHTREEL_HOSTNAME"] for number, _, variables in contexts for _ in range(number)]
                self.assertEqual([rank["host"] for rank in ranks], hosts)
                for rank, (host, device) in enumerate(zip(hosts, expected)):
                    self.assertIn(f"rank {rank}: start: on {host}, device {device}\n", ended.log)
                idle = [rank["rank"] for rank in self.run_json(self.folder / name / "out")["ranks"] if rank["error"]]
                self.assertEqual(idle, [1] if "--min-ranks" in LAUNCHES[name][1] else [])
                self.assertEqual(" load-alone: " in ended.log, "no way" in name or "is to meet" in name, ended.log)

    def assert_started(self, name):
        """What the engines say in their logs: starts, and requests to meet others."""
        logs = [log.read_text() for log in sorted((self.folder / name).glob("out/logs/*/renderer-*.log"))]
        if not logs:
            return  # refused before any renderer was started
        rank, starts = STARTS.get(name, (-1, 1))
        self.assertEqual(logs[rank].count("started\n"), starts, logs)
        if name in UNMET:
            self.assertEqual([log for log in logs if "asked to meet" in log], [])

    def test_hosts_that_no_redis_was_named_for(self):
        """The private Redis listens on a network address of rank 0 that both hosts reach."""
        self.assertEqual(program.nightreel("submit", self.write_jobs(program.small("a")), "--out", self.out).code, 0)
        self.assertEqual(program.nightreel("cancel", "a", "--out", self.out).code, 0)  # nothing to do, by name
        words = [self.program, "run", "--model", SHAPES, "--out", self.out, "--device", "cpu"]
        ended = program.call([*MPIRUN, "-np", 1, "env", "NIGHTREEL_HOSTNAME=a", *words, ":",
                              "-np", 1, "env", "NIGHTREEL_HOSTNAME=b", *words])
        if [name for _, name in socket.if_nameindex()] == ["lo"]:
            self.assert_refused(ended, 3, "no network address of rank 0 on host a", "none but loopback", "--redis")
            return
        self.assert_ended(ended, 0)
        self.assertEqual([rank["host"] for rank in self.run_json()["ranks"]], ["a", "b"])

    def test_a_singleton_although_the_launcher_promised_more(self):
        promise = {"SLURM_STEP_ID": "0", "SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "4"}
        ended = program.call([self.program, "run", "--model", SHAPES, "--out", self.out], env=promise)
        self.assert_refused(ended, 3, "the launcher started 4 ranks", "MPI knows one", "srun --mpi=pmix")


if __name__ == "__main__":
    program.main()
