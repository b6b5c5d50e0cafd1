"""Renderers that render each video together, over the store, where it takes processes to show: one that is killed or
frozen, and memory that is too small for what each would have alone. The rest is shown by tests/render, in the process.
"""
import json
import os
import re
import shutil
import signal
import sys

import numpy
from safetensors import safe_open
from safetensors.numpy import save_file

import program
from memory_test import WaveRenderer
from program import BUILD, SHAPES, ProgramTest
from renderer import SETTINGS, Renderer

sys.path.insert(0, f"{os.environ['NIGHTREEL_SOURCE_DIR']}/tests/support")
import side_by_side  # noqa: E402  (found by the line above)

load_tests = side_by_side.loader(threads=2)
EXPERTS = BUILD / "goldens/experts/model"
SIZE = {"height": 48, "width": 32}
ALL_MS = 120000  # a deadline that no test waits for
LOST_MS = 10000  # one that is waited for once: whoever is alive comes within it on any machine


class Member(Renderer):
    """`job` as every member is told it."""

    def job(self, job, token, steps, checkpoint):
        settings = {**SETTINGS, **SIZE, "num_inference_steps": steps}
        self.send("render", job=job, token=token, settings=settings, spec={"prompt": settings["prompt"]}, video="", sheet="",
                  archive="", archive_content="latents", checkpoint=str(checkpoint), checkpoint_every=1)


def groups_of(members, deadline_ms=ALL_MS):
    """They meet, and stay together."""
    group = {"backend": "store", "size": len(members), "deadline_ms": deadline_ms, "stay": True}
    members[0].send("group", address="", rank=0, **group)
    address = members[0].wait_for("rendezvous", joined=False)["address"]
    for rank, member in enumerate(members):
        member.send("group", address=address, rank=rank, **group)
    for member in members:
        member.wait_for("rendezvous", joined=True)


class RenderGroupTest(ProgramTest):
    def started(self, kind, *flags):
        made = kind("--threads", "1", *flags)
        self.addCleanup(made.kill)
        return made

    def members(self, size):
        members = [self.started(Member, "--model", str(SHAPES)) for _ in range(size)]
        for member in members:
            member.wait_for("ready")
        return members

    def end(self, members):
        for member in members:
            member.send("shutdown")
        self.assertEqual([member.end() for member in members], [0] * len(members))

    def test_memory_that_holds_a_share_and_no_whole_expert(self):
        model, memory = self.wide_model()

        def renderer(*flags):
            return self.started(WaveRenderer, "--model", str(model), "--gpu-memory", str(memory), *flags)
        too_large = renderer()
        self.assertEqual(too_large.end(close=False), 3)
        self.assertIn("not even its smallest video", too_large.wait_for("failed")["message"])
        members = [renderer("--shard-weights", f"{rank}/4") for rank in range(4)]
        for member in members:
            member.wait_for("ready")
        groups_of(members)
        for member in members:
            member.render("video", 1)
        for member in members:
            member.wait_for("done", job="video")
        self.end(members)
        (alone,) = [renderer("--shard-weights", "0/4")]
        alone.render("video", 1)
        failed = alone.wait_for("failed", job="video")
        self.assertEqual(failed["kind"], "device_memory")
        self.assertIn("sharded over 4 ranks, and 1 is left", failed["message"])
        self.end([alone])

    def wide_model(self):
        """A model whose experts are most of it, and the bytes of one with the keys that are kept beside it: all else
        that a video needs has no room then."""
        model = self.folder / "wide"
        shutil.copytree(EXPERTS, model)
        path = model / "transformer/config.json"
        config = json.loads(path.read_text())
        heads, layers, ffn_dim = 32, 8, 1024
        old = config["num_attention_heads"] * config["attention_head_dim"]
        width = heads * config["attention_head_dim"]
        wider = {old: width, 6 * old: 6 * width, config["ffn_dim"]: ffn_dim}
        self.assertEqual(len(wider), 3)
        random = numpy.random.default_rng(1)
        tensors = {}
        narrow = {}
        for file in (model / "transformer").glob("*.safetensors*"):
            if file.suffix == ".safetensors":
                with safe_open(file, "numpy") as opened:
                    narrow.update({name: opened.get_slice(name).get_shape() for name in opened.keys()})
            file.unlink()
        for name, sizes in narrow.items():
            block = re.match(r"blocks\.(\d+)\.(.*)", name)
            if block and block[1] != "0":
                continue
            shape = [wider.get(size, size) for size in sizes]
            for copy in [f"blocks.{layer}.{block[2]}" for layer in range(layers)] if block else [name]:
                tensors[copy] = (random.standard_normal(shape) * 0.02).astype(numpy.float32)
        save_file(tensors, model / "transformer/diffusion_pytorch_model.safetensors")
        path.write_text(json.dumps({**config, "num_attention_heads": heads, "num_layers": layers, "ffn_dim": ffn_dim}))
        shutil.rmtree(model / "transformer_2")
        (model / "transformer_2").symlink_to("transformer")
        expert = json.loads(program.nightreel("model", "memory", model).out)["model"]["weights"][2]
        keys = 2 * layers * 2 * 512 * width * 4  # both prompts' 512 rows
        return model, expert + keys

    def test_a_killed_and_a_frozen_member_are_named_and_new_processes_go_on_from_the_checkpoint(self):
        groups = {self.folder / f"{number}.h5": (number, self.members(3)) for number in (signal.SIGKILL, signal.SIGSTOP)}
        fresh = self.members(2)
        for state, (_, members) in groups.items():
            groups_of(members, LOST_MS)
            for member in members:
                member.job("video", 1, 1000, state)
        for number, members in groups.values():
            members[0].wait_for("checkpoint", job="video", step=2)
            members[1].signal(number)
        for _, members in groups.values():
            named = f"rank 1 of 3 did not come within {LOST_MS} ms"
            failed = [member.wait_for("failed", job="", kind="comm")["message"] for member in (members[0], members[2])]
            self.assertIn(named, failed[0])
            # The store goes with rank 0's process: a member that came later to the same call may see that first.
            self.assertRegex(failed[1], f"{named}|lost the store, which lives in rank 0's process")
            self.assertEqual([member.end() for member in (members[0], members[2])], [3, 3])
        groups_of(fresh)
        for token, state in enumerate(groups):
            for member in fresh:
                member.job(state.name, token, 1000, state)
            first = fresh[0].wait_for("progress", job=state.name, stage="denoise")["step"]
            self.assertGreaterEqual(first, 2)
            fresh[0].send("cancel", job=state.name)
            for member in fresh:
                self.assertEqual(member.wait_for("failed", job=state.name)["kind"], "interrupted")
        self.end(fresh)


if __name__ == "__main__":
    program.main()
