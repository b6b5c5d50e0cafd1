"""`nightreel run` under mpirun on stand-in GPUs, with every default: a rank a GPU, and groups over NCCL."""
import json

import numpy

from gpu_host import CARD, StandInTest
import program
from program import SHAPES, small

PROMPTS = ("a red circle moves right on a black background", "a blue square", "a green triangle moves up",
           "two yellow circles")


class Run(StandInTest):
    def setUp(self):
        super().setUp()
        self.url = self.redis()
        self.jobs = self.write_jobs(*(small(f"job{number}", 3, prompt=prompt) for number, prompt in enumerate(PROMPTS)))

    def night(self, *flags, ranks=2, out=None, **variables):
        return self.mpirun(ranks, "run", self.jobs, "--model", SHAPES, "--out", out or self.out, "--redis", self.url,
                           "--queue", (out or self.out).name, *flags, **variables)

    def assert_made_at_once(self, ended, ranks=1):
        """Every video, at its first attempt, and no renderer was started again."""
        self.assert_ended(ended, 0)
        for number in range(len(PROMPTS)):
            made = self.sidecar(f"job{number}")
            self.assertEqual((made["attempt"], made["ranks"]), (1, ranks), ended.said)
            self.assertIn("Stand-in GPU", str(made), "not rendered on the GPU")
        for trouble in ("renderer-", "job-failed", "load-alone", "reading the weights alone"):
            self.assertNotIn(trouble, ended.log, ended.said)

    def test_two_ranks_with_every_default(self):
        ended = self.night()
        self.assert_made_at_once(ended)
        self.assertIn("this rank's share of a group of 2", self.renderer_logs())

    def test_equal_gpus_are_planned_with_the_least_of_their_free_memory(self):
        """Else the same job would be made in two ways, by the rank that comes by it."""
        ended = self.night(STAND_IN_GPU_OTHERS="GPU-222:30500000000")
        self.assert_made_at_once(ended)
        told = [json.loads(line)["message"] for path in sorted(self.out.glob("logs/*/rank-*.jsonl"))
                for line in path.read_text().splitlines() if json.loads(line)["event"] == "memory"]
        free = (CARD - 30_500_000_000 - 629_145_600) // 2**30  # the stand-in's context
        self.assertEqual(len(told), 2)
        for text in told:
            self.assertIn(f"{free * 2**30 / 1e9:.1f} GB", text)

    def renderer_logs(self):
        return "".join(path.read_text(errors="replace") for path in self.out.rglob("renderer-*.log"))

    def test_a_group_with_every_default(self):
        self.assert_made_at_once(self.night("--ranks-per-video", 2), ranks=2)

    def test_float32_latents_of_a_rank_and_of_a_group_are_the_cpus(self):
        cpu = self.folder / "cpu"
        self.assert_ended(self.night("--dtype", "f32", "--device", "cpu", "--archive", "latents", ranks=1, out=cpu), 0)
        for name, flags in {"alone": [], "group": ["--ranks-per-video", 2],
                            "sharded": ["--ranks-per-video", 2, "--shard-weights"]}.items():
            with self.subTest(name):
                out = self.folder / name
                self.assert_ended(self.night("--dtype", "f32", "--archive", "latents", *flags, out=out), 0)
                for number in range(len(PROMPTS)):
                    seen, want = (self.archived(one / f"archive/job{number}.h5") for one in (out, cpu))
                    numpy.testing.assert_allclose(seen, want, rtol=0, atol=2e-4)


if __name__ == "__main__":
    program.main()
