"""The matrix: published models on cards of six sizes, five videos each, on the counting stand-in.

    python matrix_test.py MODEL BUILD [--record]

matrix.json has what is expected of each cell: a plan or a refusal by name, what was planned and reserved (GB, as
docs/gpu.md shows them), launches a step, kernels. --record writes there what this run has seen: read the difference before
it is kept.
"""
import json
import math
import os
import pathlib
import subprocess
import sys
import unittest

RECORD = "--record" in sys.argv and bool(sys.argv.pop(sys.argv.index("--record")))
BUILD = pathlib.Path(sys.argv.pop())
MODEL = sys.argv.pop()
HERE = pathlib.Path(__file__).parent
MODELS = BUILD / "published_sizes"
LIBRARIES = BUILD / "lib/stand_in"

CARDS = {"24 GB": 25.75e9, "32 GB": 34.19e9, "45 GB": 48.3e9, "48 GB": 51.5e9, "80 GB": 85.03e9, "141 GB": 150.75e9}
SIZES = {"480p": {"height": 480, "width": 832, "num_frames": 81},
         "720p": {"height": 720, "width": 1280, "num_frames": 81},
         "704p": {"height": 704, "width": 1280, "num_frames": 121}}
MODEL_SIZES = {"a14b": ("480p", "720p"), "i2v-a14b": ("480p", "720p"), "ti2v-5b": ("704p",),
               "wan21-1.3b": ("480p", "720p")}
VIDEOS = 5
STEPS = 4
MOST_WAITS = 3  # of the host for the GPU, in a step after the first and beside a change of expert
MOST_OVER = 1.05  # the plan above what the allocator reserves, and a stage's formula above what it takes
MOST_OVER_IN_A_GROUP = 1.10
TABLE = HERE / "matrix.json"
EXPECTED = json.loads(TABLE.read_text())

# One member of a group, the others imagined.
GROUPS = {"a14b": [("720p", "32 GB", "fp8"), ("480p", "48 GB", "bf16")], "ti2v-5b": [("704p", "24 GB", "bf16")]}
# Where the driver cannot map memory, LibTorch's own way of taking it: blocks that cannot be joined.
IN_BLOCKS = {"a14b": [("480p", "80 GB"), ("720p", "80 GB"), ("480p", "48 GB"), ("720p", "45 GB")],
             "i2v-a14b": [("720p", "141 GB")], "ti2v-5b": [("704p", "48 GB"), ("704p", "24 GB")],
             "wan21-1.3b": [("720p", "32 GB"), ("480p", "24 GB")]}
# Tokens at each size, width, layers and heads of the transformer (docs/scaling.md).
SHAPES = {"a14b": ({"480p": 32760, "720p": 75600}, 5120, 40, 40), "ti2v-5b": ({"704p": 27280}, 3072, 30, 24)}


def run_cell(size, card, dtype, ranks=1, videos=VIDEOS, maps_memory=True):
    job = {"num_inference_steps": STEPS, "seed": 1, **SIZES[size]}
    if MODEL == "i2v-a14b":
        job["image"] = str(MODELS / "picture.png")
    done = subprocess.run(
        [str(BUILD / "bin/matrix_cell"), str(MODELS / MODEL), dtype, str(ranks), str(videos), json.dumps(job)],
        env={**os.environ, "LD_LIBRARY_PATH": str(LIBRARIES), "STAND_IN_GPU_BYTES": str(int(CARDS[card])),
             "STAND_IN_GPU_VMM": str(int(maps_memory)),
             "LD_PRELOAD": f"{LIBRARIES}/libstand_in_counting.so", "TORCH_CPP_LOG_LEVEL": "ERROR"},
        capture_output=True, text=True, timeout=900)
    if done.returncode != 0:
        raise AssertionError(f"matrix_cell ended with {done.returncode}: {done.stderr[-2000:]}")
    return json.loads(done.stdout)


def in_words(cell):
    """What the table says of it."""
    if "refused" in cell:
        return "refused"
    plan = cell["plan"]
    parts = [f"experts {plan['experts']}"]
    parts += [words for name, words in (("encoders_leave", "encoders leave"), ("vae_leaves", "vae leaves"),
                                        ("tiled_encode", "tiles in"), ("tiled_decode", "tiles out")) if plan[name]]
    return ", ".join(parts)


def most_reserved(cell):
    return max(stage["reserved"] for stage in cell["stages"].values())


def in_table(cell):
    """What the table says of it."""
    if "refused" in cell:
        return {"plan": "refused"}
    return {"plan": in_words(cell), "planned": round(cell["plan"]["peak"] / 1e9, 1),
            "reserved": round(most_reserved(cell) / 1e9, 1)}


def most_by_formula(plan, stage):
    """Bytes that the plan's formulas give a stage; pictures are encoded in the stage that is told as text."""
    names = ("text", "picture") if stage == "text" else (stage,)
    return max(plan["stages"][name]["weights"] + plan["stages"][name]["tensors"] for name in names if name in plan["stages"])


def most_in_use(cell, stage):
    """Bytes that are allocated at most in a stage, once what earlier ones needed has left. Tiles arrive at its end."""
    tiled = stage == "decode" and cell["plan"]["tiled_decode"]
    return cell["stages"][stage]["allocated" if tiled else "settled"]


def sent_in_a_step(cell):
    """Bytes that a member sends for attention in its cheapest step."""
    return min(sum(step["sent"].get(verb, [0, 0])[1] for verb in ("all_to_all", "shift")) for step in cell["steps"])


def counted_in_docs(size, ranks):
    """The same by the formula of docs/scaling.md."""
    tokens, width, layers, heads = SHAPES[MODEL]
    members, passes = (ranks // 2, 1) if ranks % 2 == 0 else (ranks, 2)
    ulysses = math.gcd(heads, members)
    ring = members // ulysses
    share = tokens[size] * width * 2 / members * layers
    return passes * (4 * share * (ulysses - 1) / ulysses + 2 * share * (ring - 1))


class Matrix(unittest.TestCase):
    def check_plan(self, cell, videos=VIDEOS, most_over=MOST_OVER):
        """A plan that is kept: nothing fails, nothing is tried twice, what is reserved is what was planned."""
        self.assertEqual(cell["videos"], ["ok"] * videos)
        self.assertEqual((cell["out_of_memory"], cell["retries"]), (0, 0))
        planned, reserved = cell["plan"]["peak"], most_reserved(cell)
        self.assertLessEqual(reserved, planned, "the allocator takes more than the plan counts")
        self.assertLessEqual(planned, most_over * reserved, "the plan counts more than the allocator takes")
        self.assertEqual(cell["counted"]["refused"], 0)

    def check_formulas(self, cell):
        """What modules say that they need is what they take, stage by stage."""
        for stage in ("text", "denoise", "decode"):
            formula, peak = most_by_formula(cell["plan"], stage), most_in_use(cell, stage)
            with self.subTest(stage=stage, formula=formula, peak=peak, ratio=formula / peak):
                self.assertLessEqual(peak, formula)
                self.assertLessEqual(formula, MOST_OVER * peak)

    def check_cost(self, cell, name):
        steps = cell["steps"]
        changes = 1 if MODEL in ("a14b", "i2v-a14b") else 0
        dear = [step for step in steps[1:] if step["waits"] > MOST_WAITS]
        self.assertLessEqual(len(dear), (changes + 1) * VIDEOS, [step["waits"] for step in steps])
        attention = sorted({kernel for step in steps for kernel in step["kernels"] if kernel.startswith("attention")})
        decoding = sorted(kernel for kernel in cell["stages"]["decode"]["cost"]["kernels"] if "convolution" in kernel)
        seen = {"launches": min(step["launches"] for step in steps), "attention": attention, "convolutions": decoding}
        if RECORD:
            EXPECTED["costs"][name] = seen
        self.assertEqual(seen, EXPECTED["costs"].get(name), "launches a step, kernels chosen: change them knowingly")

    def check_cell(self, size, card, dtype):
        cell = run_cell(size, card, dtype)
        name = f"{MODEL} {size} {dtype}"
        if RECORD:
            EXPECTED["cells"].setdefault(name, {})[card] = in_table(cell)
        print(f"{name} {card}:", self.figures(cell), flush=True)
        self.assertEqual(in_table(cell)["plan"], EXPECTED["cells"].get(name, {}).get(card, {}).get("plan"),
                         cell.get("refused", ""))
        if "refused" in cell:
            self.assertRegex(cell["refused"], "memory: ")
        else:
            self.check_plan(cell)
            self.check_formulas(cell)
            self.check_cost(cell, name)
        return cell

    @staticmethod
    def figures(cell):
        if "refused" in cell:
            return cell["refused"][:150]
        failed = [video for video in cell["videos"] if video != "ok"]
        return (f"{in_words(cell)}: planned {cell['plan']['peak'] / 1e9:.1f} GB, reserved "
                f"{most_reserved(cell) / 1e9:.1f}, allocated {max(stage['allocated'] for stage in cell['stages'].values()) / 1e9:.1f}, retries {cell['retries']}, "
                f"out of memory {cell['out_of_memory']}, failed {len(failed)} {failed[:1]}, waits "
                f"{[step['waits'] for step in cell['steps'][:STEPS]]}, launches "
                f"{[step['launches'] for step in cell['steps'][:STEPS]]}")

    def test_cells(self):
        for size in MODEL_SIZES[MODEL]:
            for card in CARDS:
                with self.subTest(size=size, card=card, dtype="bf16"):
                    cell = self.check_cell(size, card, "bf16")
                    if "refused" in cell:
                        with self.subTest(size=size, card=card, dtype="fp8"):
                            self.check_cell(size, card, "fp8")

    def test_groups(self):
        """The same bound, by the plan that counts what each decodes; the bytes of docs/scaling.md."""
        for size, card, dtype in GROUPS.get(MODEL, []):
            for ranks in (2, 3, 4, 8):
                with self.subTest(size=size, card=card, dtype=dtype, ranks=ranks):
                    cell = run_cell(size, card, dtype, ranks, 2)
                    print(f"{MODEL} {size} {dtype} {card} group of {ranks}:", self.figures(cell), flush=True)
                    self.assertNotIn("refused", cell)
                    self.check_plan(cell, 2, MOST_OVER_IN_A_GROUP)
                    expected = counted_in_docs(size, ranks)
                    self.assertAlmostEqual(sent_in_a_step(cell), expected, delta=0.01 * expected)

    def test_a_driver_that_cannot_map_memory(self):
        """Nothing fails, and the plan counts what blocks take that cannot be joined."""
        for size, card in IN_BLOCKS[MODEL]:
            with self.subTest(size=size, card=card):
                cell = run_cell(size, card, "bf16", maps_memory=False)
                print(f"{MODEL} {size} {card} in blocks:", self.figures(cell), flush=True)
                self.assertNotIn("refused", cell)
                self.assertEqual((cell["videos"], cell["out_of_memory"], cell["retries"]), (["ok"] * VIDEOS, 0, 0))
                self.assertLessEqual(most_reserved(cell), cell["plan"]["peak"])


if __name__ == "__main__":
    run = unittest.main(verbosity=2, exit=False)
    if RECORD:
        TABLE.write_text(json.dumps(EXPECTED, indent=1, sort_keys=True) + "\n")
    sys.exit(not run.result.wasSuccessful())
