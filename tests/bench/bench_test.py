"""nightreel bench as a user and bench/compare.py start it: figures, right and wrong references, turns. No time is
asserted. Run by ctest: bench_test.py FOLDER PROGRAM, the build's folder, in which the goldens lie
(tests/parity/README.md), and nightreel-engine or nightreel-bench, which starts no renderers.
"""
import json
import pathlib
import struct
import subprocess
import sys
import tempfile
import unittest

PROGRAM = pathlib.Path(sys.argv.pop())
BUILD = pathlib.Path(sys.argv.pop())
GOLDENS = BUILD / "goldens/plain"
# The settings of the golden run; the module goldens have other sizes, which the reference brings along.
SIZES = ["--height", "48", "--width", "64", "--num-frames", "9", "--threads", "1", "--device", "cpu"]
RUN = ["--num-inference-steps", "10", "--guidance-scale", "5", "--seed", "1234"]
FIELDS = {"model", "device", "dtype", "threads", "tokens", "settings", "versions", "matmul_tflops", "pieces", "right"}
PIECE_FIELDS = {"piece", "unit", "seconds", "median_s", "min_s", "max_s", "correctness", "memory", "kernels", "tflop",
                "tflops"}
PLANNED = {"step", "vae-decode", "load"}
# Tensor of a reference -> golden file and tensor there.
REFERENCE = {
    "text.ids": ("text_encoder", "ids_2"), "text.hidden": ("text_encoder", "hidden_2"),
    "pass.latents": ("transformer", "latents_0"), "pass.embeds": ("transformer", "text_0"),
    "pass.velocity": ("transformer", "output_0"),
    "step.embeds": ("pipeline", "embeds"), "step.negative_embeds": ("pipeline", "negative_embeds"),
    "step.latents": ("pipeline", "latents"),
    "vae-decode.latents": ("vae", "latents_0"), "vae-decode.pixels": ("vae", "decoded_0"),
}


def read_tensor(path, name):
    """(shape, bytes) of a float32 tensor in a safetensors file."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    entry = json.loads(data[8 : 8 + length])[name]
    begin, end = entry["data_offsets"]
    assert entry["dtype"] == "F32"
    return entry["shape"], data[8 + length + begin : 8 + length + end]


def write_tensors(path, tensors):
    header, offset = {}, 0
    for name, (shape, data) in tensors.items():
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(data for _, data in tensors.values()))


def reference_tensors():
    tensors = {name: read_tensor(GOLDENS / f"{file}.safetensors", stored) for name, (file, stored) in REFERENCE.items()}
    shape, data = tensors["text.ids"]
    tensors["text.ids"] = (shape[1:], data)
    shape, data = tensors["step.latents"]
    tensors["step.latents"] = (shape[1:], data)  # without the batch
    return tensors


def tampered(tensor):
    """The same with one number moved by a hundredth of itself and a hundredth."""
    shape, data = tensor
    (value,) = struct.unpack_from("<f", data, 400)
    return shape, data[:400] + struct.pack("<f", value * 1.01 + 0.01) + data[404:]


def bench(*arguments, stdin=None, model=("--model", GOLDENS / "model")):
    command = [PROGRAM, "bench", *model, *SIZES, *arguments]
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, input=stdin, timeout=100)


class BenchTest(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.file = pathlib.Path(scratch.name) / "reference.safetensors"

    def against(self, tensors, *pieces):
        write_tensors(self.file, tensors)
        return bench(*RUN, "--reference", self.file, "--piece", ",".join(pieces), "--repeat", 2, "--json")

    def test_each_piece_agrees_with_what_diffusers_computed(self):
        done = self.against(reference_tensors(), "text", "pass", "step", "vae-decode")
        self.assertEqual(done.returncode, 0, done.stderr + done.stdout)
        report = json.loads(done.stdout)
        self.assertEqual(set(report), FIELDS)
        self.assertEqual([p["piece"] for p in report["pieces"]], ["text", "pass", "step", "vae-decode"])
        for piece in report["pieces"]:
            self.assertEqual(set(piece), PIECE_FIELDS)
            self.assertEqual(len(piece["seconds"]), 2)
            self.assertTrue(0 < piece["min_s"] <= piece["median_s"] <= piece["max_s"], piece)
            self.assertEqual(piece["correctness"]["against"], "reference")
            self.assertTrue(0 < piece["correctness"]["deviation"] < piece["correctness"]["limit"], piece)
            self.assertGreater(piece["tflop"], 0)
            self.assertAlmostEqual(piece["tflops"] * piece["median_s"], piece["tflop"])

    def test_a_wrong_result_is_reported_and_ends_in_exit_code_1(self):
        results = {"text": "hidden", "pass": "velocity", "step": "latents", "vae-decode": "pixels"}
        for wrong in ({"text", "step"}, {"pass", "vae-decode"}):
            with self.subTest(wrong=wrong):
                tensors = reference_tensors()
                for piece in wrong:
                    tensors[f"{piece}.{results[piece]}"] = tampered(tensors[f"{piece}.{results[piece]}"])
                done = self.against(tensors, *results)
                self.assertEqual(done.returncode, 1, done.stderr + done.stdout)
                report = json.loads(done.stdout)
                self.assertFalse(report["right"])
                self.assertEqual({p["piece"] for p in report["pieces"] if not p["correctness"]["right"]}, wrong)

    def test_people_see_a_wrong_result_too(self):
        tensors = reference_tensors()
        tensors["text.hidden"] = tampered(tensors["text.hidden"])
        write_tensors(self.file, tensors)
        done = bench("--reference", self.file, "--piece", "text", "--repeat", 1)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("WRONG", done.stdout)

    def test_a_result_of_another_shape_is_wrong(self):
        tensors = reference_tensors()
        shape, data = tensors["vae-decode.pixels"]
        tensors["vae-decode.pixels"] = ([*shape[1:]], data)
        done = self.against(tensors, "vae-decode")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIsNone(json.loads(done.stdout)["pieces"][0]["correctness"]["deviation"])

    def test_without_a_reference_every_piece_runs_and_repeats_itself(self):
        done = bench("--repeat", 2, "--num-inference-steps", 2, "--prompt", "a red circle", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        report = json.loads(done.stdout)
        pieces = report["pieces"]
        starts = [] if PROGRAM.name == "nightreel-bench" else ["start", "start-video"]
        self.assertEqual([p["piece"] for p in pieces], ["text", "pass", "step", "vae-decode", "load", *starts])
        for piece in pieces:
            self.assertEqual(piece["correctness"],
                             {"against": "first run", "deviation": 0.0, "limit": 0.0, "right": True})  # fmt: skip
            memory = piece["memory"]
            self.assertEqual(memory["plan"] is not None, piece["piece"] in PLANNED, memory)
            self.assertIsNone(memory["allocated"])  # of a GPU's allocator
            self.assertIsNone(memory["reserved"])
            self.assertEqual(piece["kernels"], {"attention": None})
            self.assertEqual(piece["tflop"] is None, piece["piece"] in {"load", *starts})
        self.assertIsNone(report["matmul_tflops"])

    def test_the_vae_computes_in_float32_whatever_the_transformers_precision(self):
        tensors = reference_tensors()
        write_tensors(self.file, tensors)
        done = bench("--dtype", "bf16", "--reference", self.file, "--piece", "vae-decode", "--repeat", 1, "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertLess(json.loads(done.stdout)["pieces"][0]["correctness"]["deviation"], 1e-5)

    def test_another_program_can_take_turns(self):
        done = bench("--piece", "text", "--paced", stdin="\n2\n1\n")
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual(lines[0], {"ready": True})
        turns = [line["seconds"] for line in lines[1:4]]
        self.assertEqual([len(seconds) for seconds in turns], [1, 2, 1])
        self.assertEqual(lines[4]["pieces"][0]["seconds"], sum(turns, []))
        for wrong in ("0", "x", "-1", "1 2", "99999999999"):
            done = bench("--piece", "text", "--paced", stdin=f"{wrong}\n")
            self.assertEqual(done.returncode, 2, done.stderr)

    def test_mistakes_are_told_in_one_line(self):
        write_tensors(self.file, {"other.tensor": ([1], b"\0" * 4)})
        for arguments, says in [
            (["--piece", "sped"], "--piece: 'sped' is none of text, pass, step"),
            (["--piece", "text", "--reference", "/nowhere"], "/nowhere: cannot open"),
            (["--piece", "text", "--reference", self.file], "tensor text.hidden: missing"),
            (["--paced"], "--paced needs exactly one --piece"),
            (["--piece", "step", "--height", "50"], "height"),
            (["--random", "t2v-a14b"], "--model, --random: exactly one of them is needed"),
            (["--piece", "text,step", "--gpu-memory", "1MB"], "memory: 48x64, 9 frames need at least"),
        ]:
            with self.subTest(says=says):
                done = bench(*arguments)
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertIn(says, done.stderr)
                self.assertEqual(len(done.stderr.splitlines()), 1)

    def test_random_weights_are_of_a_published_model_or_refused(self):
        for arguments, says in [
            ([], "--model, --random: exactly one of them is needed"),
            (["--random", "a14b"], "--random: 'a14b' is none of t2v-a14b, i2v-a14b, ti2v-5b"),
            (["--random", "ti2v-5b", "--piece", "start"], "'start' is none of text, pass, step, vae-decode, load"),
            (["--random", "i2v-a14b", "--piece", "step", "--gpu-memory", "24GB"],
             "memory: 48x64, 9 frames need at least"),
        ]:
            with self.subTest(says=says):
                done = bench(*arguments, model=())
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertIn(says, done.stderr)
                self.assertEqual(len(done.stderr.splitlines()), 1)


if __name__ == "__main__":
    unittest.main()
