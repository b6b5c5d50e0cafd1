"""nightreel-engine bench with random weights of published sizes, on the counting stand-in.

Nothing is computed there, so a run's result is rubbish and may be called wrong (exit code 1), and times and rates say
nothing. What is asserted is memory, the choice of kernels, arithmetic from dimensions, and what crosses to the card.
"""
import json

from gpu_host import BUILD, CARD, preloaded
import program

ENGINE = BUILD / "bin/nightreel-engine"
SMALL_CARD = 25_750_000_000  # bytes of a real card of "24 GB"


class Bench(program.ProgramTest):
    def bench(self, *words, card=CARD):
        return program.call([ENGINE, "bench", "--device", "cuda", "--threads", 1, *words], timeout=300,
                            env=preloaded("counting", STAND_IN_GPU_BYTES=str(card), OMP_NUM_THREADS="1",
                                          STAND_IN_REPORT=str(self.folder / "counted")))

    def figures(self, name, pieces, height, width, frames, card=CARD):
        """Figures by piece, after what holds for all of them has been asserted."""
        ended = self.bench("--random", name, "--piece", ",".join(pieces), "--height", height, "--width", width,
                           "--num-frames", frames, "--repeat", 1, "--warmup", 1, "--json", card=card)
        self.assertIn(ended.code, (0, 1), ended.said)
        report = json.loads(ended.out)
        self.assertEqual(report["model"], f"random {name}")
        self.assertGreater(report["matmul_tflops"], 0)
        self.assertEqual([piece["piece"] for piece in report["pieces"]], pieces)
        for piece in report["pieces"]:
            memory = piece["memory"]
            self.assertTrue(memory["plan"]["fits"], memory)
            self.assertGreater(memory["allocated"], 0)
            self.assertLessEqual(memory["allocated"], memory["reserved"])
            self.assertLessEqual(memory["reserved"], memory["plan"]["peak"], piece["piece"])
        return {piece["piece"]: piece for piece in report["pieces"]}

    def test_a_published_size_keeps_to_its_plan_and_is_not_read(self):
        figures = self.figures("t2v-a14b", ["step", "vae-decode"], 480, 832, 81)
        step, decode = figures["step"], figures["vae-decode"]
        for piece, stage in ((step, "denoise"), (decode, "decode")):
            planned = piece["memory"]["plan"]["stages"][stage]
            self.assertLessEqual(piece["memory"]["reserved"], planned["weights"] + planned["activations"])
        self.assertGreater(step["memory"]["allocated"], 2 * 28_000_000_000)  # both experts
        self.assertEqual(step["kernels"], {"attention": "cudnn"})
        self.assertEqual(decode["kernels"], {"attention": "efficient"})  # in float32
        # Two passes over 32760 tokens: products with 14 billion weights, but for those of the text, and attention.
        self.assertAlmostEqual(step["tflop"], 2 * 1678, delta=4)
        counted = json.loads(next(self.folder.glob("counted.*.json")).read_text())
        self.assertEqual(counted["memory"]["refused"], 0)
        self.assertLess(counted["calls"]["copy H2D"][1], 1_000_000_000)

    def test_weights_that_have_no_room_wait_on_the_host(self):
        step = self.figures("i2v-a14b", ["step"], 480, 832, 81, card=51_500_000_000)["step"]
        self.assertNotEqual(step["memory"]["plan"]["experts"], "stay")

    def test_what_fits_in_no_way_is_refused_in_the_plans_words(self):
        ended = self.bench("--random", "t2v-a14b", "--piece", "text,step", "--height", 720, "--width", 1280,
                           "--num-frames", 81, card=SMALL_CARD)
        self.assert_ended(ended, 2)
        self.assertIn("nightreel: memory: 720x1280, 81 frames need at least", ended.log)
        self.assertIn("what would fit: --dtype fp8", ended.log)
        self.assertEqual(ended.out, "")


if __name__ == "__main__":
    program.main()
