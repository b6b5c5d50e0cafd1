"""A night on the counting stand-in through the product itself: a published size under `nightreel run`."""
import json

from gpu_host import BUILD, StandInTest, gpu
import program

MODEL = BUILD / "published_sizes/wan21-1.3b"
CARD = 25_750_000_000  # bytes of a real card of "24 GB"


class Night(StandInTest):
    kind = "counting"

    def test_two_videos_of_a_published_size(self):
        self.gpus(gpu(1, memory=CARD))
        jobs = self.write_jobs(*({"id": f"job{number}", "prompt": "a red circle" + " moves" * number, "seed": 1,
                                  "num_inference_steps": 2, "height": 480, "width": 832, "num_frames": 17}
                                 for number in range(2)))
        ended = self.mpirun(1, "run", jobs, "--model", MODEL, "--out", self.out, "--threads", 1,
                            STAND_IN_GPU_BYTES=str(CARD), STAND_IN_REPORT=str(self.folder / "counted"), timeout=500)
        self.assert_ended(ended, 0)
        self.assertEqual([self.sidecar(f"job{number}")["attempt"] for number in range(2)], [1, 1])
        reports = [json.loads(path.read_text()) for path in self.folder.glob("counted.*.json")]
        rendered = [report for report in reports if report["kernels"]]
        self.assertEqual(len(rendered), 1)
        self.assertEqual(rendered[0]["memory"]["refused"], 0)
        self.assertGreater(rendered[0]["calls"]["copy H2D"][1], 2_000_000_000)  # the weights


if __name__ == "__main__":
    program.main()
