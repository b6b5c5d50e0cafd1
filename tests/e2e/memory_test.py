"""What does not fit is refused with what would; what fits only in turns is rendered in waves, to the same latents."""
import json
import re
import shutil

import h5py
import numpy

import program
from program import BUILD, SHAPES, ProgramTest, engine, mpirun, nightreel
from renderer import Renderer

EXPERTS = BUILD / "goldens/experts/model"  # of the parity tests: two experts of random weights
SIZE = {"height": 48, "width": 64, "num_frames": 5}
FLAGS = ["--height", 48, "--width", 64, "--num-frames", 5]


def plan(*flags):
    answer = engine("model", "info", EXPERTS, "--json", "--dtype", "f32", *FLAGS, *flags)
    return json.loads(answer.out)["memory"]


def weights_of_parts():
    return json.loads(engine("model", "memory", EXPERTS).out)["model"]["weights"]


def memory_at_work():
    """Bytes beside the weights in the stage that needs most, of a plan for a GPU. A CPU has no reserve, no gaps between
    tensors, and no libraries that take of the same memory: cuBLAS, and where pictures are coded cuDNN too."""
    libraries = {"text": 32, "denoise": 32, "picture": 160, "decode": 160}
    return max(stage["tensors"] - (libraries[name] << 20) for name, stage in plan()["stages"].items())


def memory_for_turns():
    """Bytes that hold one expert beside the text encoder at work, and not two."""
    text, _, expert, _, vae = weights_of_parts()
    return text + expert + vae + memory_at_work() + expert // 2


def job(name, steps=6, seed=1):
    return {"id": name, "prompt": "a red circle", "num_inference_steps": steps, "seed": seed, "guidance_scale": 4.0,
            "guidance_scale_2": 3.0, "boundary_ratio": 0.85, **SIZE}


def latents(out, name):
    with h5py.File(out / f"archive/{name}.h5") as archive:
        return archive["latents"][...]


class WaveRenderer(Renderer):
    def render(self, job, token, steps=6, **files):
        settings = {"prompt": "a red circle " + job, "negative_prompt": "", "fps": 8.0, "num_inference_steps": steps,
                    "guidance_scale": 4.0, "guidance_scale_2": 3.0, "flow_shift": 5.0, "boundary_ratio": 0.85,
                    "sampler": "unipc", "sigmas": [], "seed": token, "image": "", "last_image": "", "loras": [], **SIZE}
        wanted = {"video": "", "sheet": "", "archive": "", "checkpoint": "", "archive_content": "latents",
                  "checkpoint_every": 0, **files}
        self.send("render", job=job, token=token, settings=settings, spec={"prompt": settings["prompt"]}, **wanted)


class MemoryTest(ProgramTest):
    def renderer(self, *flags):
        made = WaveRenderer("--model", str(EXPERTS), *map(str, flags))
        self.addCleanup(made.kill)
        return made

    def test_model_info_tells_what_lives_where(self):
        small = plan("--gpu-memory", "3GB")
        self.assertTrue(small["fits"])
        self.assertEqual(plan("--gpu-memory", "2GB")["would_fit"], [])  # less than a context and its libraries take
        self.assertFalse(plan("--gpu-memory", "2GB")["fits"])
        text = engine("model", "info", EXPERTS, "--gpu-memory", "24GB").out
        for part in ("fits: 480x832, 81 frames need", "of 24.0 GB", "transformer_2", "stays on the GPU", "on the host"):
            self.assertIn(part, text)
        refused = engine("model", "info", EXPERTS, "--gpu-memory", "24GB", "--height", 50)
        self.assert_refused(refused, 2, "--height: 50", "16")
        self.assert_refused(engine("model", "info", EXPERTS, "--gpu-memory", "much"), 2, "much")

    def test_a_wave_denoises_by_one_expert_then_by_the_other(self):
        archives = {name: str(self.folder / f"{name}.h5") for name in "abcde"}
        renderer = self.renderer("--gpu-memory", memory_for_turns())
        renderer.wait_for("ready")
        with renderer.all_at_once():
            renderer.render("long", 9, steps=1000)
            for token, name in enumerate("abcde"):
                renderer.render(name, token, archive=archives[name], checkpoint=str(self.folder / f"{name}.state"))
            renderer.send("cancel", job="long")  # by then the renderer has them all
        renderer.wait_for("failed", job="long")
        for name in "abcde":
            renderer.wait_for("done", job=name)
        waits = [event["job"] for event in renderer.seen if event.get("stage") == "wait"]
        self.assertEqual(waits, list("abcde"))
        step = next(event["step"] for event in renderer.seen if event.get("stage") == "wait")
        order = renderer.order(*({"stage": "wait", "job": name} for name in "abcd"), {"stage": "decode", "job": "a"},
                               {"stage": "decode", "job": "d"}, {"stage": "text", "job": "e"})
        self.assertEqual(order, sorted(order), "all high-noise steps, then all the others, then the next wave")
        for name in "abcd":
            self.assertTrue(any(e["type"] == "checkpoint" and e["job"] == name and e["step"] == step
                                for e in renderer.seen), "the state between the experts is on disk")
        self.assertEqual(renderer.end(), 0)

        alone = self.renderer()
        for token, name in enumerate("abcde"):
            alone.render(name, token, archive=str(self.folder / "alone.h5"))
            alone.wait_for("done", job=name)
            with h5py.File(self.folder / "alone.h5") as one, h5py.File(archives[name]) as other:
                numpy.testing.assert_array_equal(one["latents"][...], other["latents"][...])
        self.assertFalse([event for event in alone.seen if event.get("stage") == "wait"])
        self.assertEqual(alone.end(), 0)

    def test_a_job_cancelled_in_a_wave_leaves_the_others_as_they_are(self):
        renderer = self.renderer("--gpu-memory", memory_for_turns())
        renderer.wait_for("ready")
        with renderer.all_at_once():
            renderer.render("long", 9, steps=1000)
            for token, name in enumerate("ab"):
                renderer.render(name, token, archive=str(self.folder / f"{name}.h5"))
            for name in ("b", "long"):
                renderer.send("cancel", job=name)
        renderer.wait_for("done", job="a")
        self.assertEqual(renderer.wait_for("failed", job="b")["kind"], "interrupted")
        self.assertEqual(renderer.end(), 0)

    def test_ranks_claim_waves_and_make_the_same_latents(self):
        jobs = [job(f"job-{i}", seed=i) for i in range(6)]
        path = self.write_jobs(*jobs)
        waves, plain = self.folder / "waves", self.folder / "plain"
        ended = mpirun(2, "run", path, "--model", EXPERTS, "--out", waves,
                       env={"NIGHTREEL_GPU_MEMORY": str(memory_for_turns())})
        self.assert_ended(ended, 0)
        self.assertIn("experts take turns", ended.log)
        self.assert_ended(nightreel("run", path, "--model", EXPERTS, "--out", plain), 0)
        for one in jobs:
            numpy.testing.assert_array_equal(latents(waves, one["id"]), latents(plain, one["id"]))

    def test_jobs_that_do_not_fit_are_refused_with_what_would(self):
        path = self.write_jobs(job("fits"), {**job("large"), "height": 256, "width": 256})
        env = {"NIGHTREEL_GPU_MEMORY": str(sum(weights_of_parts()) + memory_at_work())}
        refused = nightreel("run", path, "--model", EXPERTS, "--out", self.out, env=env)
        self.assertEqual(refused.code, 2, refused.said)
        said = "jobs.jsonl:2: memory: 256x256, 5 frames need at least "
        self.assertIn(said, refused.log)
        self.assertIn("what would fit: ", refused.log)
        self.assertNotIn("jobs.jsonl:1", refused.log)
        submitted = nightreel("submit", path, "--model", EXPERTS, "--out", self.out, env=env)
        self.assertEqual(submitted.code, 2, submitted.said)
        self.assertIn(said, submitted.log)
        self.assert_ended(nightreel("submit", path, "--out", self.out), 0)  # nobody asked the model
        self.assert_ended(nightreel("run", "--model", EXPERTS, "--out", self.out, env=env), 1)
        status = json.loads(nightreel("status", "--json", "--all", "--out", self.out).out)
        states = {one["id"]: one for one in status["jobs"]}
        self.assertEqual(states["fits"]["state"], "done")
        self.assertEqual(states["large"]["state"], "failed")
        self.assertRegex(states["large"]["error"]["message"], "^memory: 256x256")
        hopeless = nightreel("run", path, "--model", EXPERTS, "--out", self.out, env={"NIGHTREEL_GPU_MEMORY": "1kB"})
        self.assertEqual(hopeless.code, 3, hopeless.said)
        self.assertRegex(hopeless.log, "not even its smallest video")

    def test_decoding_needs_the_vae_alone_and_tiles_where_memory_is_short(self):
        made = engine("generate", "--model", SHAPES, "--prompt", "a red circle", "--height", 16, "--width", 272,
                         "--num-frames", 5, "--num-inference-steps", 1, "-o", self.folder / "a.mp4", "--archive", "latents",
                         "--archive-file", self.folder / "a.h5")
        self.assert_ended(made, 0)
        self.assertRegex(made.log, "memory: 16x272, 5 frames need ")
        model = self.folder / "model"
        shutil.copytree(SHAPES / "vae", model / "vae")
        decode = ["decode", self.folder / "a.h5", "--model", model, "-o", self.folder / "b.mp4"]
        self.assert_ended(engine(*decode), 0)
        self.assertEqual((self.folder / "a.mp4").read_bytes(), (self.folder / "b.mp4").read_bytes())
        refused = engine(*decode, "--gpu-memory", "10kB")
        self.assertEqual(refused.code, 1, refused.said)
        needs = re.search(r"memory: 16x272, 5 frames need at least ([0-9.]+) MB", refused.log)
        self.assertTrue(needs, refused.said)
        tiled = engine(*decode, "--gpu-memory", f"{float(needs[1]) + 0.1:.1f}MB")
        self.assert_ended(tiled, 0)
        self.assertNotEqual((self.folder / "a.mp4").read_bytes(), (self.folder / "b.mp4").read_bytes())


if __name__ == "__main__":
    program.main()
