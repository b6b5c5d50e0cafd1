"""Nights on the counting stand-in: a published size under `nightreel run`, and memory that others take meanwhile."""
import json
import os
import pathlib
import subprocess

from gpu_host import BUILD, LIBRARIES, StandInTest, gpu
import program

MODEL = BUILD / "published_sizes/wan21-1.3b"
CARD = 25_750_000_000  # bytes of a real card of "24 GB"


class Night(StandInTest):
    kind = "counting"

    def test_two_videos_of_a_cell_of_the_matrix(self):
        self.gpus(gpu(1, memory=CARD))
        jobs = self.write_jobs(*({"id": f"job{number}", "prompt": "a red circle" + " moves" * number, "seed": 1,
                                  "num_inference_steps": 2, "height": 480, "width": 832, "num_frames": 81}
                                 for number in range(2)))
        ended = self.mpirun(1, "run", jobs, "--model", MODEL, "--out", self.out, "--threads", 1,
                            STAND_IN_GPU_BYTES=str(CARD), STAND_IN_REPORT=str(self.folder / "counted"), timeout=500)
        self.assert_ended(ended, 0)
        cell = json.loads((pathlib.Path(__file__).parent / "matrix.json").read_text())["cells"]["wan21-1.3b 480p bf16"]["24 GB"]
        for made in (self.sidecar(f"job{number}") for number in range(2)):
            self.assertEqual((made["attempt"], round(made["plan"]["peak"] / 1e9, 1)), (1, cell["planned"]))
        reports = [json.loads(path.read_text()) for path in self.folder.glob("counted.*.json")]
        rendered = [report for report in reports if report["kernels"]]
        self.assertEqual(len(rendered), 1)
        self.assertEqual(rendered[0]["memory"]["refused"], 0)
        self.assertGreater(rendered[0]["calls"]["copy H2D"][1], 2_000_000_000)  # the weights

    def videos_beside_others(self, *others):
        """A cell of the matrix, a video for each of the bytes that other processes have taken when it begins."""
        job = {"num_inference_steps": 2, "seed": 1, "height": 720, "width": 1280, "num_frames": 81}
        done = subprocess.run(
            [str(BUILD / "bin/matrix_cell"), str(MODEL), "bf16", "1", str(len(others)), json.dumps(job), json.dumps(others)],
            env={**os.environ, "LD_LIBRARY_PATH": str(LIBRARIES), "STAND_IN_GPU_BYTES": str(48_300_000_000),
                 "LD_PRELOAD": f"{LIBRARIES}/libstand_in_counting.so", "TORCH_CPP_LOG_LEVEL": "ERROR"},
            capture_output=True, text=True, timeout=900)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout), done.stderr

    def test_memory_that_others_take_is_answered_by_the_next_plan_once(self):
        """The video is made at its second try; the next one begins with that plan, though there is room again."""
        cell, log = self.videos_beside_others(18_000_000_000, 0)
        self.assertEqual(cell["videos"], ["ok"] * 2, log)
        first, second = cell["plans"]
        self.assertLess(first["peak"], 30_000_000_000)
        self.assertEqual(second, first)
        self.assertEqual((cell["out_of_memory"], log.count("out-of-memory")), (1, 1), log)

    def test_a_second_time_out_of_memory_is_an_answer(self):
        cell, log = self.videos_beside_others(40_000_000_000)
        self.assertRegex(cell["videos"][0], "^out of memory in stage [a-z]+: ")
        self.assertEqual((cell["plans"], cell["out_of_memory"]), ([None], 2), log)


if __name__ == "__main__":
    program.main()
