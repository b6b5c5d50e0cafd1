"""`nightreel doctor` and `nightreel bench comm`: alone and under mpirun, on sound and on broken environments.

How facts are judged is tests/doctor's; here is shown that each check is made, on all ranks, and what it costs the others
when one fails: one launch has several faults where they do not hide each other. Renderers are the real ones where they
read a model or exchange bytes, else stand_in_engine.py; GPUs are those of tests/cluster's stand-in for NVML. What CUDA
and NCCL would say is not shown here.
"""
import json
import os
import re
import shutil
import socket
import subprocess
import sys

import program
from program import BUILD, MPIRUN, NIGHTREEL, SHAPES, SOURCE, mpirun, nightreel

sys.path.insert(0, str(SOURCE / "tests/support"))
import side_by_side  # noqa: E402  (found by the line above)

load_tests = side_by_side.loader(threads=4, across_classes=True)


def gpu(name, **more):
    return {"uuid": f"GPU-{name}", "name": "Stand-in GPU", **more}


PATIENCE = 240  # seconds that only what hangs takes
FOUR = [gpu("a0"), gpu("a1"), gpu("a2"), gpu("a3")]


class DoctorTest(program.ProgramTest):
    def report(self, ended, code):
        """The JSON of one doctor, whose code is the process's own; every fault has a fix."""
        self.assert_ended(ended, code)
        lines = ended.out.splitlines()
        self.assertEqual(len(lines), 1, ended.said)
        report = json.loads(lines[0])
        self.assertEqual(report["exit_code"], code)
        for level, total in (("failure", "failures"), ("warning", "warnings")):
            self.assertEqual(sum(check["level"] == level for check in report["checks"]), report[total])
        for check in report["checks"]:
            self.assertEqual(bool(check["fix"]), check["level"] in ("failure", "warning"), check)
        return report

    def assert_says(self, report, check, level, *parts):
        """One line of `check` at `level` says all the parts, in text or fix."""
        found = [one for one in report["checks"] if one["check"] == check and one["level"] == level
                 and all(part in one["text"] + " " + one["fix"] for part in parts)]
        self.assertTrue(found, f"no {level} of {check} with {parts} in {json.dumps(report, indent=1)}")

    def assert_only(self, report, *faulty):
        """Nothing but these checks failed, and the others were made all the same."""
        failed = {check["check"] for check in report["checks"] if check["level"] == "failure"}
        self.assertEqual(failed, set(faulty), json.dumps(report, indent=1))
        self.assertGreater(len([check for check in report["checks"] if check["level"] == "ok"]), 5)

    def with_gpus(self, ranks, nvml, *flags, **variables):
        """doctor on a host with these GPUs, with stand-in engines."""
        said = self.folder / "nvml.json"
        said.write_text(json.dumps(nvml))
        if not (self.folder / "bin").exists():
            self.with_stand_in_engine()
        return mpirun(ranks, "doctor", "--json", *flags, program=self.folder / "bin/nightreel", timeout=PATIENCE,
                      env={"NIGHTREEL_NVML_LIBRARY": str(BUILD / "lib/libfake_nvml.so"), "NIGHTREEL_FAKE_NVML": str(said),
                           **variables})

    def redis_on_a_port(self):
        """The port of a server of the test's own, which takes no job away from anybody."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        server = subprocess.Popen(["redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir",
                                   str(self.folder)], stdout=subprocess.DEVNULL)
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        ping = ["redis-cli", "-p", port, "ping"]
        self.assertTrue(program.until(lambda: "PONG" in subprocess.run(ping, capture_output=True, text=True).stdout, PATIENCE))
        return port


class Sound(DoctorTest):
    def test_alone_with_everything(self):
        jobs = self.write_jobs(*({"id": name, "prompt": "x", "height": 720, "width": 1280, "num_frames": 81} for name in "ab"))
        url = self.redis()
        self.assert_ended(nightreel("submit", jobs, "--redis", url), 0)
        report = self.report(nightreel("doctor", "--json", "--model", SHAPES, "--out", self.out, "--redis", url, "--device",
                                       "cpu", "--expect-ranks", "1"), 0)
        levels = {check["check"]: check["level"] for check in report["checks"]}
        for check in ("mpi", "ranks", "gpus", "program", "variables", "redis", "storage", "one folder", "space", "engine",
                      "cpu", "model", "group", "interfaces"):
            self.assertEqual(levels[check], "ok", json.dumps(report, indent=1))
        self.assert_says(report, "persistence", "warning", "keeps nothing on disk")  # the test's server
        self.assert_says(report, "redis", "ok", "unix://", "from --redis", "2 jobs queued")
        self.assertEqual(report["ranks"], [{"rank": 0, "host": socket.gethostname(), "local_rank": 0, "device": "cpu"}])
        self.assertFalse(list(self.out.iterdir()), "it left something in OUT")
        # Room is judged by the sizes of the jobs that wait.
        (said,) = [check["text"] for check in report["checks"] if check["check"] == "space"]
        gigabytes = re.search(r"what is queued \(2 jobs\) takes about ([\d.]+) GiB", said)
        self.assertGreater(float(gigabytes[1]), 2 * 720 * 1280 * 81 / 16 / 2**30, said)

    def test_with_nothing_in_text_with_a_line_a_check_and_the_fix_below(self):
        ended = program.call([self.with_stand_in_engine(), "doctor", "--expect-ranks", "2"])
        self.assert_ended(ended, 3)
        lines = ended.out.splitlines()
        at = next(i for i, line in enumerate(lines) if line.startswith("failure"))
        self.assertRegex(lines[at], r"^failure +ranks +2 were expected, MPI started 1$")
        self.assertRegex(lines[at + 1], r"^ +fix: .*host file")
        self.assertRegex(lines[-1], r"^1 failed, \d+ warnings?, \d+ ok, \d+ not checked$")
        for line in (r"not checked +model +no --model", r"not checked +storage +no --out",
                     r"ok +redis +none is named: .*redis-server"):
            self.assertRegex(ended.out, f"(?m)^{line}")

    def test_three_ranks(self):
        report = self.report(mpirun(3, "doctor", "--json", "--model", SHAPES, "--out", self.out, "--redis", self.redis(),
                                    "--device", "cpu", "--expect-ranks", 3, timeout=PATIENCE), 0)
        self.assert_says(report, "mpi", "ok", "3 ranks on 1 host", "mpirun")
        self.assert_says(report, "group", "ok", "3 renderers met", "all_to_all", "all_gather")
        self.assert_says(report, "clock", "ok", "ms")
        self.assert_says(report, "model", "ok", "digest")
        self.assertEqual([rank["local_rank"] for rank in report["ranks"]], [0, 1, 2])

    def test_each_rank_its_gpu(self):
        report = self.report(self.with_gpus(4, {"default": FOUR}, "--model", SHAPES), 0)
        self.assertEqual([rank["device"] for rank in report["ranks"]], ["GPU-a0", "GPU-a1", "GPU-a2", "GPU-a3"])
        self.assert_says(report, "gpus", "ok", "rank 3: GPU-a3 (Stand-in GPU, 24 GiB)")
        self.assert_says(report, "peer access", "ok")
        self.assert_says(report, "driver", "ok", "580.0, speaks CUDA 13.0")
        self.assert_says(report, "nccl", "ok", "4 renderers met over NCCL")


class Faulty(DoctorTest):
    def alone(self, *flags, **env):
        return program.call([self.folder / "bin/nightreel", "doctor", "--json", "--device", "cpu", *flags], env=env)

    def test_no_redis_no_out_no_model_and_too_few_ranks(self):
        out = "/proc/nightreel-out"  # cannot be made, by root neither
        with socket.socket() as free:  # bound, and nobody listens
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
            report = self.report(mpirun(2, "doctor", "--json", "--device", "cpu", "--out", out, "--model", self.folder / "none",
                                        "--expect-ranks", "8", program=self.with_stand_in_engine(), timeout=PATIENCE,
                                        env={"REDIS_HOST": "127.0.0.1", "REDIS_PORT": port}), 3)
        self.assert_only(report, "redis", "storage", "model", "ranks")
        self.assert_says(report, "redis", "failure", "ranks 0, 1 on host", f"127.0.0.1:{port}", "refused",
                         "REDIS_HOST with REDIS_PORT")
        self.assert_says(report, "storage", "failure", "ranks 0, 1 on host", out, "mount")
        self.assert_says(report, "model", "failure", str(self.folder / "none"))
        self.assert_says(report, "ranks", "failure", "8 were expected, MPI started 2", "host file")
        self.assert_says(report, "group", "ok", "2 renderers met")
        if os.geteuid() != 0:
            self.out.mkdir(mode=0o555)
            report = self.report(self.alone("--out", self.out), 3)
            self.assert_says(report, "storage", "failure", str(self.out))

    def test_hosts_that_share_neither_out_nor_model(self):
        other = self.folder / "other"
        shutil.copytree(SHAPES, other)
        weights = next((other / "vae").glob("*.safetensors"))
        data = bytearray(weights.read_bytes())
        data[-1] ^= 1
        weights.chmod(0o644)
        weights.write_bytes(data)

        def rank(host, model, out):
            return ["-np", 1, "env", f"NIGHTREEL_HOSTNAME={host}", NIGHTREEL, "doctor", "--json", "--device", "cpu", "--model",
                    model, "--out", self.folder / out]
        report = self.report(program.call([*MPIRUN, *rank("a", SHAPES, "here"), ":", *rank("b", other, "there")],
                                          timeout=PATIENCE), 3)
        self.assert_only(report, "model", "one folder")
        self.assert_says(report, "model", "failure", "different models", "rank 0 on host a", "rank 1 on host b", "copy one model")
        self.assert_says(report, "one folder", "failure", "there", "here", "rank 1 on host b")
        self.assertEqual([rank["host"] for rank in report["ranks"]], ["a", "b"])

    def test_a_redis_of_the_ray_setup_is_shown_as_used_and_its_variables_as_without_effect(self):
        self.with_stand_in_engine()
        port = self.redis_on_a_port()
        report = self.report(self.alone(REDIS_HOST="127.0.0.1", REDIS_PORT=port, RANK="3", WORLD_SIZE="8", LOCAL_RANK="3",
                                        MASTER_ADDR="ray-head", TOTAL_WORKERS="8"), 0)
        self.assert_says(report, "variables", "warning", "RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, TOTAL_WORKERS",
                         "without effect", "from-ray-serve")
        self.assert_says(report, "redis", "ok", f"redis://127.0.0.1:{port} from REDIS_HOST and REDIS_PORT")
        subprocess.run(["redis-cli", "-p", port, "config", "set", "maxmemory-policy", "allkeys-lru"], check=True,
                       capture_output=True)
        evicting = self.report(self.alone("--redis", f"redis://127.0.0.1:{port}"), 3)
        self.assert_only(evicting, "redis")
        self.assert_says(evicting, "redis", "failure", "allkeys-lru", "CONFIG SET maxmemory-policy noeviction")

    def test_an_address_that_is_none_without_its_password_and_a_host_file_that_was_not_used(self):
        self.with_stand_in_engine()
        hosts = self.folder / "hosts"
        hosts.write_text("a slots=1\nb slots=1\n")
        report = self.report(self.alone("--redis", "http://u:hush@h", PRTE_MCA_prte_default_hostfile=str(hosts)), 3)
        self.assert_only(report, "redis")
        self.assert_says(report, "redis", "failure", "unknown scheme")
        self.assertNotIn("hush", json.dumps(report))
        self.assert_says(report, "hosts", "warning", "names 2 hosts, the ranks are on 1", "--hostfile")
        self.assert_says(report, "ranks", "not_checked", "no --expect-ranks")

    def test_singletons_of_a_launcher_that_promised_more_speak_once(self):
        self.with_stand_in_engine()
        report = self.report(self.alone(PMI_SIZE="4", PMI_RANK="0"), 3)
        self.assert_says(report, "mpi", "failure", "the launcher started 4 ranks", "srun --mpi=pmix")
        other = self.alone(PMI_SIZE="4", PMI_RANK="2")
        self.assertEqual((other.code, other.out), (3, ""))

    def test_an_engine_that_is_not_there(self):
        self.copy_of_nightreel()
        report = self.report(self.alone(), 3)
        self.assert_only(report, "engine")
        self.assert_says(report, "engine", "failure", "nightreel-engine", "libexec")
        self.assert_says(report, "group", "not_checked", "see engine")

    def test_bad_flags(self):
        for flags in (["--device", "gpu"], ["--expect-ranks", "0"], ["--nonsense"], ["--patience", "0"]):
            with self.subTest(flags):
                self.assertEqual(nightreel("doctor", *flags).code, 2)

    def test_two_ranks_on_one_gpu(self):
        report = self.report(self.with_gpus(2, {"ranks": {"0": [gpu("a0")], "1": [gpu("a0")]}}), 3)
        self.assert_only(report, "gpus")
        self.assert_says(report, "gpus", "failure", "ranks 0, 1 on host", "GPU-a0", "--share-gpu")
        self.assert_says(report, "group", "not_checked", "see gpus")

    def test_gpus_that_are_hidden_and_busy_and_get_wrong_bytes(self):
        seen = {"ranks": {"0": [gpu("a0", pids=[17])], "1": [gpu("a1")]}}
        report = self.report(self.with_gpus(2, seen, NIGHTREEL_STAND_IN="GPU-a1:wrong"), 3)
        self.assert_only(report, "nccl")
        self.assert_says(report, "nccl", "failure", "wrong bytes", "NCCL_P2P_DISABLE=1")
        self.assert_says(report, "peer access", "warning", "ranks 0, 1", "--gpu-bind=none")
        self.assert_says(report, "gpu load", "warning", "GPU-a0")

    def test_renderers_that_do_not_meet_are_a_failure_for_groups_alone(self):
        shared = {"default": [gpu("a0")]}
        sliced = {"default": [gpu("a0", mig=[{"uuid": "MIG-a0"}, {"uuid": "MIG-a1"}])]}
        cases = {"unmet": ("GPU-a1:unmet", [], {"default": FOUR}, ("rank 1 on host", "no way to the others"), "warning"),
                 "shared": ("", ["--share-gpu"], shared, ("ranks 0, 1 on host", "share the GPU GPU-a0"), "not_checked"),
                 "sliced": ("", [], sliced, ("ranks 0, 1 on host", "slices of the GPU GPU-a0"), "not_checked")}
        for name, (faults, flags, nvml, parts, alone) in cases.items():
            for groups in (False, True):
                with self.subTest(name, groups=groups):
                    report = self.report(self.with_gpus(2, nvml, *flags, *["--ranks-per-video", "2"] * groups,
                                                        NIGHTREEL_STAND_IN=faults), 3 if groups else 0)
                    self.assert_says(report, "nccl", "failure" if groups else alone, *parts)
                    if groups:
                        self.assert_only(report, "nccl")


class Hanging(DoctorTest):
    """What hangs does not hang doctor. Most of it is waiting, beside the other tests."""

    def hang(self, nvml, **variables):
        return self.report(self.with_gpus(3, nvml, "--patience", "8", "--ranks-per-video", "3", **variables), 3)

    @side_by_side.long
    def test_a_driver(self):
        report = self.hang({"default": FOUR, "hang": ["1"]})
        self.assert_says(report, "gpus", "failure", "rank 1 on host", "no answer within")
        for check in ("mpi", "redis", "engine"):
            self.assert_says(report, check, "ok")

    @side_by_side.long
    def test_a_rank(self):
        report = self.hang({"default": FOUR, "stop": ["1"]})
        self.assert_says(report, "mpi", "ok")
        self.assert_says(report, "gpus", "failure", "rank 1 on host", "did not come in time")
        self.assert_says(report, "model", "not_checked", "lost each other")

    @side_by_side.long
    def test_a_renderer(self):
        report = self.hang({"default": FOUR}, NIGHTREEL_STAND_IN="GPU-a1:deaf")
        self.assert_says(report, "nccl", "failure", "rank 1 on host", "no answer within")


class BenchComm(program.ProgramTest):
    def test_every_byte_and_a_speed_of_groups_and_of_a_rank_that_is_left_over(self):
        """Of three ranks and of one: in a group with another, and with nobody."""
        flags = ("bench", "comm", "--json", "--device", "cpu", "--bytes", "64KiB", "--repeats", "2")
        for ended, ranks, groups in ((mpirun(3, *flags, "--ranks-per-video", "2", timeout=PATIENCE), 3, [(0, 2), (1, 1)]),
                                     (nightreel(*flags), 1, [(0, 1)])):
            with self.subTest(ranks=ranks):
                self.assert_ended(ended, 0)
                result = json.loads(ended.out)
                self.assertEqual((result["ranks"], result["backend"], result["device"]), (ranks, "store", "cpu"))
                self.assertEqual([(one["group"], one["ranks"], one["verb"]) for one in result["exchanges"]],
                                 [(group, size, verb) for group, size in groups for verb in ("all_to_all", "all_gather")])
                for one in result["exchanges"]:
                    self.assertTrue(one["correct"])
                    self.assertAlmostEqual(one["bytes"], 65536, delta=2 * one["ranks"])
                    self.assertEqual(one["gigabytes_a_second"] > 0, one["ranks"] > 1)

    def test_what_wan_needs_and_wrong_bytes_which_are_exit_code_1(self):
        """The sizes that renderers are asked for; between renderers on CPUs they would take minutes."""
        how = {"program": self.with_stand_in_engine(), "timeout": PATIENCE}
        ended = mpirun(2, "bench", "comm", "--device", "cpu", "--json", **how)
        self.assert_ended(ended, 0)
        sizes = {one["exchange"]: one["bytes"] for one in json.loads(ended.out)["exchanges"]}
        self.assertEqual(sizes["attention 832x480"], 32760 // 2 * 5120 * 2)
        self.assertEqual(sizes["attention 1280x720"], 75600 // 2 * 5120 * 2)
        self.assertEqual(sizes["weights"], 256 << 20)
        ended = mpirun(2, "bench", "comm", "--device", "cpu", env={"NIGHTREEL_STAND_IN": "cpu:wrong"}, **how)
        self.assert_ended(ended, 1)
        self.assertIn("WRONG BYTES", ended.out)

    def test_refusals(self):
        self.assert_refused(mpirun(2, "bench", "comm", "--device", "cpu", "--expect-ranks", "3", timeout=PATIENCE), 3,
                            "--expect-ranks 3")
        self.assertEqual(nightreel("bench", "comm", "--repeats", "0").code, 2)
        self.assertEqual(nightreel("bench", "comm", "--bytes", "much").code, 2)
        self.assertIn("--ranks-per-video", nightreel("bench", "comm", "--help").out)


if __name__ == "__main__":
    program.main()
