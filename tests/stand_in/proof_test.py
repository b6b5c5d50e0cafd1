"""scripts/gpu-proof on the stand-ins: what a first day with a GPU begins with is known to work, and to see what is wrong."""
import json
import unittest

import gpu_host  # noqa: F401  (finds the next)
import program
from program import BUILD, SOURCE


class Proof(program.ProgramTest):
    def proof(self, *words, **variables):
        """The script, as on a machine with a GPU; its report and its page."""
        out = self.folder / "proof"
        ended = program.call([SOURCE / "scripts/gpu-proof", "--out", out, *words], timeout=300, env=variables)
        if ended.code not in (0, 1):
            return ended, None, ""
        return ended, json.loads((out / "gpu-proof.json").read_text()), (out / "gpu-proof.md").read_text()

    def test_what_is_right_is_said_to_be(self):
        ended, report, page = self.proof("--stand-in", BUILD, "--quick", "--stage", "tests")
        self.assertEqual(ended.code, 0, ended.said + page)
        self.assertEqual(report["tests"]["state"], "done")
        self.assertEqual(report["nccl"], {"state": "done", "members": ["right", "right"]})
        kinds = {(line["check"], line["dtype"]) for line in report["tests"]["lines"]}
        self.assertLessEqual({("rotary", "f32"), ("rotary", "bf16"), ("attention-part", "f16"), ("transformer", "bf16"),
                              ("umt5", "f32"), ("vae-decode", "tf32"), ("clip", "bf16"), ("video", "f32"),
                              ("video", "fp8"), ("residency", "bf16"), ("lora-video", "f32")}, kinds)
        self.assertIn("**Nothing deviates or failed** in: tests.", page)
        self.assertRegex(page, r"\n\| rotary \| bf16 \| \d+ \| .* \| right \|\n")
        self.assertIn("NCCL: done.", page)

    def test_a_kernel_that_is_wrong_is_named(self):
        ended, report, page = self.proof("--stand-in", BUILD, "--quick", "--stage", "tests", "--only", "rotary",
                                         STAND_IN_WRONG_KERNEL="rotary")
        self.assertEqual(ended.code, 1, ended.said)
        self.assertRegex(ended.log, r"gpu-proof: rotary bf16 1x33x12x64: largest, of the CPU's own \S+, allowed 1.5\n")
        self.assertEqual({line["dtype"] for line in report["tests"]["lines"] if not line["ok"]}, {"bf16"})
        self.assertRegex(page, r"\n\| rotary \| bf16 \| .* \| \*\*\d wrong\*\* \|\n")

    def test_what_was_there_stays_when_time_is_up_or_the_program_dies(self):
        line = json.dumps({"check": "rotary", "dtype": "f32", "size": "1x2", "what": "largest", "deviation": 0, "limit": 1,
                           "ok": True})
        for end, state in (("sleep 600", "cut off after 5 s"), ("kill -KILL $$", "failed: gpu_proof ended with -9 after 1")):
            with self.subTest(end=end):
                fake = self.folder / "build/bin/gpu_proof"
                fake.parent.mkdir(parents=True, exist_ok=True)
                fake.write_text(f"#!/bin/sh\necho '{line}'\n{end}\n")
                fake.chmod(0o755)
                ended, report, page = self.proof("--stand-in", self.folder / "build", "--stage", "tests", "--limit", 5)
                self.assertEqual(ended.code, 1, ended.said)
                self.assertIn(f"gpu-proof: tests: {state}", ended.log)
                self.assertEqual(len(report["tests"]["lines"]), 1)
                self.assertIn(f"- tests: {state}", page)

    @unittest.skipIf(program.call(["sh", "-c", "command -v nvidia-smi"]).code == 0, "there is a GPU's driver here")
    def test_without_a_gpu_the_fix_is_named(self):
        ended, _, _ = self.proof()
        self.assertEqual(ended.code, 3, ended.said)
        self.assertRegex(ended.log, "^gpu-proof: no GPU: nvidia-smi is not there; ")

    def test_usage(self):
        self.assertEqual(program.call([SOURCE / "scripts/gpu-proof", "--stage", "nonsense"]).code, 2)


if __name__ == "__main__":
    program.main()
