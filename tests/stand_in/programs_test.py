"""generate, decode, doctor and bench comm on the computing stand-in: the release's programs, unmodified."""
import json
import sys

import numpy

from gpu_host import StandInTest, gpu
import program
from program import SHAPES, SOURCE

sys.path.insert(0, str(SOURCE / "tools/shapes"))
import check  # noqa: E402  (found by the line above)

SMALL = ["--prompt", "a red circle moves right on a black background", "--height", 16, "--width", 16, "--num-frames", 5,
         "--num-inference-steps", 3, "--seed", 3, "--threads", 1]


class Programs(StandInTest):
    def generate(self, device, dtype):
        """Latents of one small video."""
        name = f"{device}-{dtype}"
        ended = self.call("generate", "--model", SHAPES, "-o", self.folder / f"{name}.mp4", "--archive", "frames",
                          "--archive-file", self.folder / f"{name}.h5", "--device", device, "--dtype", dtype, *SMALL)
        self.assert_ended(ended, 0)
        return self.archived(self.folder / f"{name}.h5")

    def test_generate_and_decode_give_the_cpus_video(self):
        exact = self.generate("cpu", "f32")
        numpy.testing.assert_allclose(self.generate("cuda", "f32"), exact, rtol=0, atol=2e-4)

        here, there = (abs(self.generate(device, "bf16") - exact) for device in ("cpu", "cuda"))
        self.assertLessEqual(there.mean(), 1.25 * here.mean())
        self.assertLessEqual(there.max(), 1.5 * here.max())

        again = self.folder / "again.mp4"
        self.assert_ended(self.call("decode", self.folder / "cpu-f32.h5", "-o", again, "--model", SHAPES, "--device",
                                    "cuda", "--threads", 1), 0)
        seen, want = (check.read_video(path).astype(int) for path in (again, self.folder / "cpu-f32.mp4"))
        self.assertEqual(seen.shape, want.shape)
        self.assertLess(abs(seen - want).mean(), 0.5)

    def test_doctor_lets_two_renderers_meet_over_nccl(self):
        ended = self.mpirun(2, "doctor", "--json", "--model", SHAPES, "--expect-ranks", 2, "--ranks-per-video", 2,
                            "--patience", 800)
        self.assert_ended(ended, 0)
        report = json.loads(ended.out.splitlines()[0])
        levels = {one["check"]: one["level"] for one in report["checks"]}
        for name in ("gpus", "engine", "nccl", "model", "driver"):
            self.assertEqual(levels.get(name), "ok", json.dumps(report, indent=1))

    def test_bench_comm_gets_every_byte(self):
        ended = self.mpirun(2, "bench", "comm", "--bytes", "64KiB", "--repeats", 2)
        self.assert_ended(ended, 0)
        self.assertIn("over NCCL", ended.out)
        self.assertIn("every byte right", ended.out)
        self.assertNotIn("WRONG", ended.out)

    def test_two_slices_of_one_gpu_cannot_meet(self):
        slices = [{"uuid": f"MIG-{name}", "memory": 40 << 30, "pids": []} for name in ("aaa", "bbb")]
        self.gpus(gpu(1, mig=slices))
        ended = self.mpirun(2, "bench", "comm", "--bytes", "64KiB", "--repeats", 1)
        self.assertNotEqual(ended.code, 0, ended.said)


if __name__ == "__main__":
    program.main()
