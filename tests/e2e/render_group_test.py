"""Renderers that render each video together, over the store: one process a member, as their ranks see them."""
import json
import os
import re
import shutil
import signal
import sys
import time

import h5py
import numpy
from safetensors import safe_open
from safetensors.numpy import save_file

import program
from memory_test import WaveRenderer, memory_for_turns
from program import BUILD, ENDLESS, SHAPES
from renderer import SAVED, SETTINGS, Renderer

sys.path.insert(0, str(program.SOURCE / "tests/chaos"))
from fault_case import FaultCase  # noqa: E402  (found by the line above)

EXPERTS = BUILD / "goldens/experts/model"
SIZE = {"height": 48, "width": 32}
ALL_MS = 60000  # a deadline that no test waits for


class Member(Renderer):
    """`job` as every member is told it; files are what only rank 0 is given."""

    def job(self, job, token, steps=8, changed=None, **files):
        settings = {**SETTINGS, **SIZE, "num_inference_steps": steps, **(changed or {})}
        wanted = {"video": "", "sheet": "", "archive": "", "checkpoint": "", "archive_content": "latents",
                  "checkpoint_every": 0, "crf": 18, **files}
        self.send("render", job=job, token=token, settings=settings, spec={"prompt": settings["prompt"]}, **wanted)


def groups_of(members, deadline_ms=ALL_MS):
    """They meet, and stay together."""
    group = {"backend": "store", "size": len(members), "deadline_ms": deadline_ms, "stay": True}
    members[0].send("group", address="", rank=0, **group)
    address = members[0].wait_for("rendezvous", joined=False)["address"]
    for rank, member in enumerate(members):
        member.send("group", address=address, rank=rank, **group)
    for member in members:
        member.wait_for("rendezvous", joined=True)


class RenderGroupTest(FaultCase):
    real_renderer = True

    def members(self, size, deadline_ms=ALL_MS, flags=("--model", str(SHAPES)), kind=Member, env=None):
        members = [kind(*flags, "--threads", "1", env=env) for _ in range(size)]
        for member in members:
            self.addCleanup(member.kill)
        for member in members:
            member.wait_for("ready")
        if deadline_ms:
            groups_of(members, deadline_ms)
        return members

    def end(self, members):
        for member in members:
            member.send("shutdown")
        self.assertEqual([member.end() for member in members], [0] * len(members))

    def archive(self, name):
        with h5py.File(self.folder / name) as archive:
            return archive["latents"][...], archive["frames"][...].astype(int)

    def assert_same_video(self, name, other):
        latents, frames = self.archive(name)
        other_latents, other_frames = self.archive(other)
        apart = numpy.linalg.norm(latents - other_latents) / numpy.linalg.norm(latents)
        self.assertLess(apart, 2e-5)
        apart = numpy.abs(frames - other_frames)
        self.assertLessEqual(apart.max(), 1)
        self.assertLess(numpy.count_nonzero(apart), apart.size / 1000)

    def files(self, name):
        return {"archive": str(self.folder / name), "archive_content": "frames", "video": str(self.folder / (name + ".mp4"))}

    def test_groups_of_1_2_3_and_4_render_the_video_that_one_renders_and_rank_0_writes_it(self):
        (alone,) = self.members(1, deadline_ms=0)
        alone.job("video", 1, **self.files("alone"))
        alone.wait_for("done", job="video")
        self.end([alone])
        for size in (1, 2, 3, 4):
            with self.subTest(size=size):
                members = self.members(size)
                for member in members:  # all are given the files
                    member.job("video", 1, **self.files(f"of{size}"))
                for member in members:
                    member.wait_for("done", job="video", token=1)
                self.end(members)
                self.assert_same_video("alone", f"of{size}")
                self.assertTrue((self.folder / f"of{size}.mp4").stat().st_size > 0)

    def sharded(self, size, planned=None, flags=()):
        """A group of `size` renderers that were started as members of one of `planned`."""
        members = [Member("--model", str(SHAPES), "--threads", "1", "--shard-weights", f"{rank}/{planned or size}", *flags)
                   for rank in range(size)]
        for member in members:
            self.addCleanup(member.kill)
        for member in members:
            member.wait_for("ready")
        if size > 1:
            groups_of(members)
        return members

    def rendered(self, members, name):
        for member in members:
            member.job("video", 1, **self.files(name))
        for member in members:
            member.wait_for("done", job="video", token=1)
        self.end(members)
        return self.archive(name)

    def test_groups_that_keep_the_weights_in_shards_render_the_same_bits(self):
        for size, planned in ((2, 2), (3, 3), (2, 3), (1, 2)):  # and those that lack a member
            with self.subTest(size=size, planned=planned):
                whole = self.rendered(self.members(size, deadline_ms=ALL_MS if size > 1 else 0), f"whole{size}{planned}")
                members = self.sharded(size, planned)
                for ours, wanted in zip(self.rendered(members, f"sharded{size}{planned}"), whole, strict=True):
                    numpy.testing.assert_array_equal(ours, wanted)
                for member in members:
                    again = f"were sharded over {planned} ranks, and {size} render"
                    (self.assertNotIn if size == planned else self.assertIn)(again, member.log)

    def test_memory_that_holds_a_share_and_no_whole_expert(self):
        model, memory = self.wide_model()

        def renderer(*flags):
            made = WaveRenderer("--model", str(model), "--gpu-memory", str(memory), "--threads", "1", *flags)
            self.addCleanup(made.kill)
            return made
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

    def test_a_cancelled_job_ends_on_all_after_the_same_step_and_the_next_is_rendered(self):
        members = self.members(3)
        for member in members:
            member.job("long", 1, changed=ENDLESS)
            member.job("waiting", 2)
            member.job("next", 3)
        members[0].wait_for("progress", job="long", stage="denoise", step=2)
        members[0].send("cancel", job="waiting")
        members[0].send("cancel", job="long")
        for member in members:
            self.assertEqual(member.wait_for("failed", job="long")["kind"], "interrupted")
            self.assertEqual(member.wait_for("failed", job="waiting", token=2)["kind"], "interrupted")
            member.wait_for("done", job="next")
        steps = [max(e["step"] for e in m.seen if e.get("job") == "long" and e.get("stage") == "denoise") for m in members]
        self.assertEqual(len(set(steps)), 1, steps)
        self.end(members)

    def test_a_stopped_job_goes_on_in_another_group_of_another_size(self):
        state = str(self.out / "checkpoints/state.h5")
        (self.out / "checkpoints").mkdir(parents=True)
        (alone,) = self.members(1, deadline_ms=0)
        alone.job("video", 1, steps=12, **self.files("alone"))
        alone.wait_for("done", job="video")
        self.end([alone])
        members = self.members(2, env=self.environment())
        self.trap(SAVED, "hold")
        for member in members:
            member.job("video", 2, steps=12, checkpoint=state, checkpoint_every=4)
        members[0].stop_while_held("video", self)
        members[0].wait_for("checkpoint", job="video", token=2, step=5)
        for member in members:
            self.assertEqual(member.wait_for("failed", job="video", token=2)["kind"], "interrupted")
        self.assertFalse([e for e in members[1].seen if e["type"] == "checkpoint"], "rank 0 keeps it")
        self.end(members)
        members = self.members(3)
        for member in members:
            member.job("video", 3, steps=12, checkpoint=state, **self.files("resumed"))
        for member in members:
            self.assertEqual(member.wait_for("done", job="video")["resumed_step"], 5)
        self.end(members)
        self.assert_same_video("alone", "resumed")

    def test_what_one_member_cannot_do_fails_the_job_on_all_with_the_same_reason_and_the_next_is_rendered(self):
        members = self.members(2)
        missing = {"loras": [{"path": str(self.folder / "missing.safetensors"), "scale": 1.0, "expert": "both"}]}
        members[0].job("bad", 1)
        members[1].job("bad", 1, changed=missing)
        for member in members:
            failed = member.wait_for("failed", job="bad", token=1)
            self.assertIn("rank 1 of the group: ", failed["message"])
            self.assertIn("missing.safetensors", failed["message"])
        for member in members:
            member.job("bad for all", 2, changed=missing)
            member.job("odd size", 3, changed={"height": 50})
            member.job("good", 4)
        for member in members:
            self.assertNotIn("rank", member.wait_for("failed", job="bad for all")["message"])
            self.assertIn("height", member.wait_for("failed", job="odd size")["message"])
            member.wait_for("done", job="good")
        self.end(members)

    def test_a_checkpoint_that_cannot_be_written_fails_the_job_and_not_the_group(self):
        members = self.members(2)
        for member in members:
            member.job("video", 1, steps=50, checkpoint=str(self.folder / "no folder/state.h5"), checkpoint_every=2)
            member.job("next", 2)
        self.assertEqual(members[0].wait_for("failed", job="video")["kind"], "storage")
        self.assertEqual(members[1].wait_for("failed", job="video")["kind"], "interrupted")
        for member in members:
            member.wait_for("done", job="next")
        self.end(members)

    def test_a_killed_and_a_frozen_member_are_named_and_new_processes_go_on_from_the_checkpoint(self):
        for number in (signal.SIGKILL, signal.SIGSTOP):
            with self.subTest(signal=number):
                state = str(self.folder / f"{number}.h5")
                members = self.members(3, deadline_ms=8000)
                for member in members:
                    member.job("video", 1, steps=1000, checkpoint=state, checkpoint_every=1)
                members[0].wait_for("checkpoint", job="video", step=2)
                members[1].signal(number)
                for member in (members[0], members[2]):
                    failed = member.wait_for("failed", job="", kind="comm")
                    self.assertIn("rank 1 of 3 did not come within 8000 ms", failed["message"])
                    self.assertNotEqual(member.end(), 0)
                members[1].kill()
                members = self.members(2)
                for member in members:
                    member.job("video", 2, steps=1000, checkpoint=state, checkpoint_every=1)
                first = members[0].wait_for("progress", job="video", stage="denoise")["step"]
                self.assertGreaterEqual(first, 2)
                members[0].send("cancel", job="video")
                for member in members:
                    member.wait_for("failed", job="video")
                self.end(members)

    def test_a_member_that_is_lost_while_nothing_is_to_do_is_missed(self):
        members = self.members(2, deadline_ms=8000)
        members[1].signal(signal.SIGKILL)
        failed = members[0].wait_for("failed", job="", kind="comm")
        self.assertIn("rank 1 of 2 did not come within 8000 ms", failed["message"])

    def test_who_is_told_to_shut_down_after_rank_0_has_gone_ends_in_order(self):
        members = self.members(2)
        members[0].kill()
        time.sleep(0.5)  # its closed connection is all that the other hears
        self.end(members[1:])
        self.assertFalse([event for event in members[1].seen if event["type"] == "failed"])

    def test_idle_times_and_slow_disks_longer_than_the_deadline_are_no_error(self):
        members = self.members(2, deadline_ms=10000)
        slow = self.folder / "slow.mp4"
        os.mkfifo(slow)  # a disk that takes nothing until it is read from
        for name in ("first", "second", "third", "fourth"):
            for rank, member in enumerate(members):
                member.job(name, 1, video=str(slow) if name == "first" and rank == 0 else "")
        members[0].wait_for("progress", job="third", stage="decode", step=5)
        time.sleep(12)
        with open(slow, "rb") as pipe:
            pipe.read()
        members[0].wait_for("failed", job="first")  # a pipe is no place for an MP4 file
        for member in members:
            member.wait_for("done", job="fourth")
        time.sleep(12)
        members[1].job("late", 2)
        time.sleep(3)
        members[0].job("late", 2)
        for member in members:
            member.wait_for("done", job="late")
        self.end(members)

    def send_wave(self, member):
        member.render("long", 9, steps=1000)
        for token, name in enumerate("abc"):
            member.render(name, token, archive=str(self.folder / name))

    def test_waves_are_the_same_on_all_members(self):
        (alone,) = self.members(1, deadline_ms=0, flags=("--model", str(EXPERTS)), kind=WaveRenderer)
        for token, name in enumerate("ab"):
            alone.render(name, token, archive=str(self.folder / f"alone {name}"))
            alone.wait_for("done", job=name)
        self.end([alone])
        flags = ("--model", str(EXPERTS), "--gpu-memory", str(memory_for_turns()))
        members = self.members(2, flags=flags, kind=WaveRenderer)
        for member in members[1:]:
            self.send_wave(member)
            member.send("probe")
            member.wait_for("probed")  # so it has them all
        with members[0].all_at_once():
            self.send_wave(members[0])
            for name in ("c", "long"):
                members[0].send("cancel", job=name)
        for member in members:
            for name in "ab":
                member.wait_for("done", job=name)
            self.assertEqual(member.wait_for("failed", job="c")["kind"], "interrupted")
            order = member.order(*({"stage": "wait", "job": name} for name in "ab"), {"stage": "decode", "job": "a"})
            self.assertEqual(order, sorted(order))
        self.end(members)
        for name in "ab":
            with h5py.File(self.folder / f"alone {name}") as one, h5py.File(self.folder / name) as other:
                latents, together = one["latents"][...], other["latents"][...]
            self.assertLess(numpy.linalg.norm(latents - together) / numpy.linalg.norm(latents), 2e-5)


if __name__ == "__main__":
    program.main()
