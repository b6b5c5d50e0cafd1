"""`nightreel doctor` and `nightreel bench comm`: alone and under mpirun, on sound and on broken environments.

Where GPUs are needed NVML is the stand-in of tests/cluster and the renderers are stand_in_engine.py: what a rank finds
out, judges and says is its own; what CUDA and NCCL would say is not shown here.
"""
import concurrent.futures
import json
import os
import re
import shutil
import socket
import subprocess

import program
from program import BUILD, MPIRUN, NIGHTREEL, SHAPES, mpirun, nightreel

PASSED = {"ok", "not_checked"}


def gpu(name, **more):
    return {"uuid": f"GPU-{name}", "name": "Stand-in GPU", **more}


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

    def stand_in(self, ranks, flags, nvml, name="nvml", **variables):
        """doctor on a host with these GPUs, with stand-in engines."""
        (self.folder / f"{name}.json").write_text(json.dumps(nvml))
        return mpirun(ranks, "doctor", "--json", *flags, program=self.folder / "bin/nightreel",
                      env={"NIGHTREEL_NVML_LIBRARY": str(BUILD / "lib/libfake_nvml.so"),
                           "NIGHTREEL_FAKE_NVML": str(self.folder / f"{name}.json"), **variables})


class Doctor(DoctorTest):
    def test_alone_with_everything_and_with_nothing(self):
        report = self.report(nightreel("doctor", "--json", "--model", SHAPES, "--out", self.out, "--redis", self.redis(),
                                       "--device", "cpu", "--expect-ranks", "1"), 0)
        levels = {check["check"]: check["level"] for check in report["checks"]}
        for check in ("mpi", "ranks", "gpus", "program", "variables", "redis", "storage", "one folder", "space", "engine",
                      "cpu", "model", "group", "interfaces"):
            self.assertEqual(levels[check], "ok", json.dumps(report, indent=1))
        self.assert_says(report, "persistence", "warning", "keeps nothing on disk")  # the test's server
        self.assert_says(report, "redis", "ok", "unix://", "from --redis", "0 jobs queued")
        self.assertEqual(report["ranks"], [{"rank": 0, "host": socket.gethostname(), "local_rank": 0, "device": "cpu"}])
        self.assertFalse(list(self.out.iterdir()), "it left something in OUT")

        bare = self.report(nightreel("doctor", "--json"), 0)
        for check, words in (("model", "no --model"), ("storage", "no --out"), ("ranks", "no --expect-ranks")):
            self.assert_says(bare, check, "not_checked", words)
        self.assert_says(bare, "redis", "ok", "none is named", "redis-server")

    def test_text_has_a_line_a_check_and_the_fix_below(self):
        ended = nightreel("doctor", "--device", "cpu", "--expect-ranks", "2")
        self.assert_ended(ended, 3)
        lines = ended.out.splitlines()
        at = next(i for i, line in enumerate(lines) if line.startswith("failure"))
        self.assertRegex(lines[at], r"^failure +ranks +2 were expected, MPI started 1$")
        self.assertRegex(lines[at + 1], r"^ +fix: .*host file")
        self.assertRegex(lines[-1], r"^1 failed, \d+ warnings?, \d+ ok, \d+ not checked$")

    def test_two_and_four_ranks(self):
        url = self.redis()
        for ranks in (2, 4):
            with self.subTest(ranks=ranks):
                report = self.report(mpirun(ranks, "doctor", "--json", "--model", SHAPES, "--out", self.out, "--redis", url,
                                            "--device", "cpu", "--expect-ranks", ranks), 0)
                self.assert_says(report, "mpi", "ok", f"{ranks} ranks on 1 host", "mpirun")
                self.assert_says(report, "group", "ok", f"{ranks} renderers met", "all_to_all", "all_gather")
                self.assert_says(report, "clock", "ok", "ms")
                self.assert_says(report, "model", "ok", "digest")
                self.assertEqual([rank["local_rank"] for rank in report["ranks"]], list(range(ranks)))

    def test_room_is_judged_by_the_sizes_of_the_jobs_that_wait(self):
        jobs = self.write_jobs(*({"id": name, "prompt": "x", "height": 720, "width": 1280, "num_frames": 81} for name in "ab"))
        url = self.redis()
        self.assert_ended(nightreel("submit", jobs, "--redis", url), 0)
        ask = ("doctor", "--json", "--model", SHAPES, "--out", self.out, "--redis", url, "--device", "cpu")
        (said,) = [check["text"] for check in self.report(nightreel(*ask), 0)["checks"] if check["check"] == "space"]
        gigabytes = re.search(r"what is queued \(2 jobs\) takes about ([\d.]+) GiB", said)
        self.assertGreater(float(gigabytes[1]), 2 * 720 * 1280 * 81 / 16 / 2**30, said)

    def test_a_redis_that_is_not_there(self):
        with socket.socket() as free:  # bound, and nobody listens
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
            report = self.report(mpirun(2, "doctor", "--json", "--device", "cpu",
                                        env={"REDIS_HOST": "127.0.0.1", "REDIS_PORT": port}), 3)
        self.assert_only(report, "redis")
        self.assert_says(report, "redis", "failure", f"127.0.0.1:{port}", "refused", "REDIS_HOST with REDIS_PORT")

    def test_a_redis_of_the_ray_setup_is_shown_as_used_and_its_variables_as_without_effect(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        server = subprocess.Popen(["redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir",
                                   str(self.folder)], stdout=subprocess.DEVNULL)
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        ping = ["redis-cli", "-p", port, "ping"]
        self.assertTrue(program.until(lambda: "PONG" in subprocess.run(ping, capture_output=True, text=True).stdout))
        report = self.report(nightreel("doctor", "--json", "--device", "cpu", env={
            "REDIS_HOST": "127.0.0.1", "REDIS_PORT": port, "RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "3",
            "MASTER_ADDR": "ray-head", "TOTAL_WORKERS": "8"}), 0)
        self.assert_says(report, "variables", "warning", "RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, TOTAL_WORKERS",
                         "without effect", "from-ray-serve")
        self.assert_says(report, "redis", "ok", f"redis://127.0.0.1:{port} from REDIS_HOST and REDIS_PORT")
        subprocess.run(["redis-cli", "-p", port, "config", "set", "maxmemory-policy", "allkeys-lru"], check=True,
                       capture_output=True)
        evicting = self.report(nightreel("doctor", "--json", "--device", "cpu", "--redis", f"redis://127.0.0.1:{port}"), 3)
        self.assert_only(evicting, "redis")
        self.assert_says(evicting, "redis", "failure", "allkeys-lru", "CONFIG SET maxmemory-policy noeviction")

    def test_an_address_that_is_none_and_a_password_are_not_shown(self):
        report = self.report(nightreel("doctor", "--json", "--device", "cpu", "--redis", "http://u:hush@h"), 3)
        self.assert_says(report, "redis", "failure", "unknown scheme")
        self.assertNotIn("hush", json.dumps(report))

    def test_an_out_that_cannot_be_written(self):
        out = "/proc/nightreel-out"  # for root too
        report = self.report(mpirun(2, "doctor", "--json", "--device", "cpu", "--out", out), 3)
        self.assert_only(report, "storage")
        self.assert_says(report, "storage", "failure", "ranks 0, 1 on host", out, "mount")
        if os.geteuid() != 0:
            self.out.mkdir(mode=0o555)
            report = self.report(nightreel("doctor", "--json", "--device", "cpu", "--out", self.out), 3)
            self.assert_says(report, "storage", "failure", str(self.out))

    def test_the_wrong_number_of_ranks(self):
        report = self.report(mpirun(2, "doctor", "--json", "--device", "cpu", "--expect-ranks", "8"), 3)
        self.assert_only(report, "ranks")
        self.assert_says(report, "ranks", "failure", "8 were expected, MPI started 2", "host file")

    def test_a_model_that_differs_between_hosts_and_one_that_is_missing(self):
        other = self.folder / "other"
        shutil.copytree(SHAPES, other)
        weights = next((other / "vae").glob("*.safetensors"))
        data = bytearray(weights.read_bytes())
        data[-1] ^= 1
        weights.chmod(0o644)
        weights.write_bytes(data)
        for model, parts in ((other, ("different models", "rank 0 on host a", "rank 1 on host b", "copy one model")),
                             (self.folder / "none", ("rank 1 on host b", "none"))):
            with self.subTest(model=model):
                words = [NIGHTREEL, "doctor", "--json", "--device", "cpu", "--model"]
                report = self.report(program.call([
                    *MPIRUN, "-np", 1, "env", "NIGHTREEL_HOSTNAME=a", *words, SHAPES, ":",
                    "-np", 1, "env", "NIGHTREEL_HOSTNAME=b", *words, model]), 3)
                self.assert_says(report, "model", "failure", *parts)
                self.assertEqual([rank["host"] for rank in report["ranks"]], ["a", "b"])

    def test_an_out_that_two_hosts_do_not_share(self):
        words = [NIGHTREEL, "doctor", "--json", "--device", "cpu", "--out"]
        report = self.report(program.call([*MPIRUN, "-np", 1, *words, self.folder / "here", ":",
                                           "-np", 1, *words, self.folder / "there"]), 3)
        self.assert_only(report, "one folder")
        self.assert_says(report, "one folder", "failure", "there", "here", "rank 1 on host")

    def test_a_host_file_that_was_not_used(self):
        hosts = self.folder / "hosts"
        hosts.write_text("a slots=1\nb slots=1\n")
        report = self.report(nightreel("doctor", "--json", "--device", "cpu",
                                       env={"PRTE_MCA_prte_default_hostfile": str(hosts)}), 0)
        self.assert_says(report, "hosts", "warning", "names 2 hosts, the ranks are on 1", "--hostfile")

    def test_singletons_of_a_launcher_that_promised_more_speak_once(self):
        report = self.report(nightreel("doctor", "--json", "--device", "cpu", env={"PMI_SIZE": "4", "PMI_RANK": "0"}), 3)
        self.assert_says(report, "mpi", "failure", "the launcher started 4 ranks", "srun --mpi=pmix")
        other = nightreel("doctor", "--json", "--device", "cpu", env={"PMI_SIZE": "4", "PMI_RANK": "2"})
        self.assertEqual((other.code, other.out), (3, ""))

    def test_an_engine_that_is_not_there(self):
        binaries = self.folder / "bin"
        binaries.mkdir()
        shutil.copy2(NIGHTREEL, binaries / "nightreel")
        report = self.report(program.call([binaries / "nightreel", "doctor", "--json", "--device", "cpu"]), 3)
        self.assert_only(report, "engine")
        self.assert_says(report, "engine", "failure", "nightreel-engine", "libexec")
        self.assert_says(report, "group", "not_checked", "see engine")

    def test_bad_flags(self):
        for flags in (["--device", "gpu"], ["--expect-ranks", "0"], ["--nonsense"], ["--patience", "0"]):
            with self.subTest(flags):
                self.assertEqual(nightreel("doctor", *flags).code, 2)


class WithStandInGpus(DoctorTest):
    def setUp(self):
        super().setUp()
        self.with_stand_in_engine()

    def test_each_rank_its_gpu(self):
        report = self.report(self.stand_in(4, ["--model", SHAPES], {"default": FOUR}), 0)
        self.assertEqual([rank["device"] for rank in report["ranks"]], ["GPU-a0", "GPU-a1", "GPU-a2", "GPU-a3"])
        self.assert_says(report, "gpus", "ok", "rank 3: GPU-a3 (Stand-in GPU, 24 GiB)")
        self.assert_says(report, "peer access", "ok")
        self.assert_says(report, "driver", "ok", "580.0, speaks CUDA 13.0")
        self.assert_says(report, "nccl", "ok", "4 renderers met over NCCL")

    def test_gpus_that_do_not_fit(self):
        cases = {
            "two ranks on one GPU": (2, [], {"ranks": {"0": [gpu("a0")], "1": [gpu("a0")]}}, 3, "gpus", "failure",
                                     ("ranks 0, 1 on host", "GPU-a0", "--share-gpu")),
            "more ranks than GPUs": (5, [], {"default": FOUR}, 3, "gpus", "failure", ("5 ranks for 4 GPUs", "one rank a GPU")),
            "a driver that does not work": (2, [], {"fail": 18}, 3, "gpus", "failure", ("version mismatch", "nvidia-smi")),
            "cuda without a GPU": (1, ["--device", "cuda"], {}, 3, "gpus", "failure", ("sees no GPU", "--gpus-per-node")),
            "no GPU": (1, [], {}, 0, "gpus", "warning", ("on the CPU", "--device cpu")),
            "an old driver": (2, [], {"default": FOUR, "cuda": 12040}, 3, "driver", "failure", ("CUDA 12.4", "580")),
            "a launcher that hides peers": (2, [], {"ranks": {"0": [gpu("a0")], "1": [gpu("a1")]}}, 0, "peer access",
                                            "warning", ("ranks 0, 1", "--gpu-bind=none")),
            "a GPU that is busy": (1, [], {"default": [gpu("a0", pids=[17])]}, 0, "gpu load", "warning", ("GPU-a0",)),
        }
        # mpirun takes a second to notice that ranks have ended: several wait at once.
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            ended = {name: pool.submit(self.stand_in, ranks, flags, nvml, name)
                     for name, (ranks, flags, nvml, *_) in cases.items()}
        for name, (_, _, _, code, check, level, parts) in cases.items():
            with self.subTest(name):
                report = self.report(ended[name].result(), code)
                self.assert_says(report, check, level, *parts)
                if check == "gpus" and level == "failure":
                    self.assert_only(report, "gpus")
                    self.assert_says(report, "group", "not_checked", "see gpus")

    def test_wrong_bytes_between_renderers(self):
        report = self.report(self.stand_in(2, [], {"default": FOUR}, NIGHTREEL_STAND_IN="GPU-a1:wrong"), 3)
        self.assert_only(report, "nccl")
        self.assert_says(report, "nccl", "failure", "wrong bytes", "NCCL_P2P_DISABLE=1")

    def test_what_hangs_does_not_hang_doctor(self):
        """A driver, a renderer, and a whole rank that never answer; at once, as most of it is waiting."""
        faults = {"driver": {"default": FOUR, "hang": ["1"]}, "rank": {"default": FOUR, "stop": ["1"]},
                  "renderer": {"default": FOUR}}
        with concurrent.futures.ThreadPoolExecutor() as pool:
            begun = {name: pool.submit(self.stand_in, 3, ["--patience", "5"], nvml, name=name,
                                       NIGHTREEL_STAND_IN="GPU-a1:deaf" if name == "renderer" else "")
                     for name, nvml in faults.items()}
            reports = {name: self.report(ended.result(), 3) for name, ended in begun.items()}
        self.assert_says(reports["driver"], "gpus", "failure", "rank 1 on host", "no answer within")
        for check in ("mpi", "redis", "engine"):
            self.assert_says(reports["driver"], check, "ok")
        self.assert_says(reports["renderer"], "nccl", "failure", "rank 1 on host", "no answer within")
        self.assert_says(reports["rank"], "mpi", "ok")
        self.assert_says(reports["rank"], "gpus", "failure", "rank 1 on host", "did not come in time")
        self.assert_says(reports["rank"], "model", "not_checked", "lost each other")


class BenchComm(program.ProgramTest):
    def bench(self, ranks, *flags):
        ended = mpirun(ranks, "bench", "comm", "--json", "--device", "cpu", "--bytes", "64KiB", "--repeats", "2", *flags)
        self.assert_ended(ended, 0)
        return json.loads(ended.out)

    def test_every_byte_and_a_speed(self):
        for ranks in (1, 2, 3):
            with self.subTest(ranks=ranks):
                result = self.bench(ranks)
                self.assertEqual((result["ranks"], result["backend"], result["device"]), (ranks, "store", "cpu"))
                self.assertEqual([one["verb"] for one in result["exchanges"]], ["all_to_all", "all_gather"])
                for one in result["exchanges"]:
                    self.assertTrue(one["correct"])
                    self.assertEqual(one["ranks"], ranks)
                    self.assertAlmostEqual(one["bytes"], 65536, delta=2 * ranks)
                    self.assertEqual(one["gigabytes_a_second"] > 0, ranks > 1)

    def test_groups_and_a_rank_that_is_left_over(self):
        result = self.bench(3, "--ranks-per-video", "2")
        self.assertEqual([(one["group"], one["ranks"]) for one in result["exchanges"]], [(0, 2), (0, 2), (1, 1), (1, 1)])

    def test_what_wan_needs(self):
        """The sizes that renderers are asked for; between renderers on CPUs they would take minutes."""
        ended = mpirun(2, "bench", "comm", "--device", "cpu", "--json", program=self.with_stand_in_engine())
        self.assert_ended(ended, 0)
        sizes = {one["exchange"]: one["bytes"] for one in json.loads(ended.out)["exchanges"]}
        self.assertEqual(sizes["attention 832x480"], 32760 // 2 * 5120 * 2)
        self.assertEqual(sizes["attention 1280x720"], 75600 // 2 * 5120 * 2)
        self.assertEqual(sizes["weights"], 256 << 20)

    def test_wrong_bytes_are_exit_code_1_and_text_says_so(self):
        binaries = self.with_stand_in_engine()
        ended = mpirun(2, "bench", "comm", "--device", "cpu", program=binaries, env={"NIGHTREEL_STAND_IN": "cpu:wrong"})
        self.assert_ended(ended, 1)
        self.assertIn("WRONG BYTES", ended.out)

    def test_refusals(self):
        self.assert_refused(mpirun(2, "bench", "comm", "--device", "cpu", "--expect-ranks", "3"), 3, "--expect-ranks 3")
        self.assertEqual(nightreel("bench", "comm", "--repeats", "0").code, 2)
        self.assertEqual(nightreel("bench", "comm", "--bytes", "much").code, 2)
        self.assertIn("--ranks-per-video", nightreel("bench", "comm", "--help").out)


if __name__ == "__main__":
    program.main()
