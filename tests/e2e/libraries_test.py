"""What a rank is made of: no LibTorch and no CUDA in its address space, and no launcher's variable in its decisions."""
import json
import pathlib
import re
import shlex

import program
from program import ENDLESS, MPIRUN, NIGHTREEL, SHAPES, engine, nightreel, small, until

UNWANTED = re.compile(r"libtorch|libc10|libcuda|libcublas|libcudnn|libnccl|libnvrtc")  # NVML is wanted


def mapped(pid):
    try:
        maps = pathlib.Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return set()
    return {pathlib.Path(line.split(maxsplit=5)[5]).name for line in maps.splitlines() if ".so" in line}


def children(pid):
    found = []
    for tasks in pathlib.Path("/proc").glob(f"{pid}/task/*/children"):
        found += [int(child) for child in tasks.read_text().split()]
    return found


def program_of(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/exe").resolve().name
    except OSError:
        return ""


class Libraries(program.ProgramTest):
    def start_run(self):
        jobs = self.write_jobs(small("long", **ENDLESS))
        process = program.start([*MPIRUN, "-np", 1, NIGHTREEL, "run", jobs, "--model", SHAPES, "--out", self.out,
                                 "--threads", "1"])
        self.addCleanup(program.finish, process)
        self.addCleanup(program.stop_at_once, process)  # in order: its private redis-server ends too
        return process

    def test_a_rank_and_status_map_no_libtorch_and_no_cuda(self):
        process = self.start_run()
        ranks = until(lambda: [pid for pid in children(process.pid) if program_of(pid) == "nightreel"], 120)
        self.assertEqual(len(ranks), 1)
        (rank,) = ranks
        running = lambda: json.loads(nightreel("status", "--json", "--out", self.out).out or "{}").get("running")
        self.assertTrue(until(lambda: (self.out / "queue/address").exists() and running(), 120))
        self.assertIn("libmpi.so.40", {name[:12] for name in mapped(rank)})
        self.assertEqual({name for name in mapped(rank) if UNWANTED.search(name)}, set())
        (renderer,) = [pid for pid in children(rank) if program_of(pid) == "nightreel-engine"]
        self.assertIn("libtorch_cpu.so", mapped(renderer), "the test must be able to see it")

        watching = program.start([NIGHTREEL, "status", "--watch", "--out", self.out])
        seen = until(lambda: mapped(watching.pid) if program_of(watching.pid) == "nightreel" and any(
            name.startswith("libhiredis") for name in mapped(watching.pid)) else set(), 120)
        watching.kill()
        program.finish(watching)
        self.assertTrue(seen)
        self.assertEqual({name for name in seen if UNWANTED.search(name)}, set())

    def test_rank_variables_of_other_frameworks_have_no_effect(self):
        nonsense = {"RANK": "7", "WORLD_SIZE": "many", "LOCAL_RANK": "-1", "LOCAL_WORLD_SIZE": "0", "GROUP_RANK": "x",
                    "MASTER_ADDR": "nowhere.invalid", "MASTER_PORT": "1", "OMPI_COMM_WORLD_LOCAL_RANK": "9",
                    "NODE_RANK": "3"}
        jobs = self.write_jobs(small("a"), small("b"))
        words = [*MPIRUN, "-np", 2, "env", *(f"{key}={value}" for key, value in nonsense.items()), NIGHTREEL, "run",
                 jobs, "--model", SHAPES, "--out", self.out, "--threads", "1"]
        self.assert_ended(program.call(words), 0)
        self.assertEqual([(rank["rank"], rank["device"]) for rank in self.run_json()["ranks"]], [(0, "cpu"), (1, "cpu")])
        for name in "ab":
            sidecar = json.loads((self.out / f"videos/{name}.json").read_text())
            plain = engine(*shlex.split(sidecar["generate"])[1:], cwd=self.folder)
            self.assert_ended(plain, 0)
            self.assertEqual((self.folder / f"{name}.mp4").read_bytes(), (self.out / f"videos/{name}.mp4").read_bytes())


if __name__ == "__main__":
    program.main()
