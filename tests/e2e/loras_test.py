"""LoRAs through the whole program: jobs with and without them in turn give what each gives alone."""
import hashlib
import json
import shlex

import h5py
import safetensors.torch
import torch

import damage
import program
from program import SHAPES, engine, nightreel, small


def lora(path, module, rank, seed, prefix="transformer.", halves=("lora_A", "lora_B"), width=128):
    """A LoRA for one square layer of models/shapes, in both experts, strong enough to be seen."""
    generator = torch.Generator().manual_seed(seed)
    down, up = (torch.randn(shape, generator=generator) for shape in ((rank, width), (width, rank)))
    safetensors.torch.save_file({f"{prefix}{module}.{halves[0]}.weight": down / 8,
                                 f"{prefix}{module}.{halves[1]}.weight": up / 8}, path)


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Loras(program.ProgramTest):
    def setUp(self):
        super().setUp()
        lora(self.folder / "peft.safetensors", "blocks.0.attn1.to_v", 4, seed=1)
        lora(self.folder / "kohya.safetensors", "blocks_4_cross_attn_o", 2, 2, "lora_unet_", ("lora_down", "lora_up"))
        lora(self.folder / "foreign.safetensors", "unet.mid_block.to_q", 2, 3)

    def test_jobs_with_and_without_loras_in_turn_give_the_bytes_of_each_alone(self):
        one = [{"path": "peft.safetensors", "scale": 0.8}]
        two = [{"path": "kohya.safetensors"}, *one]
        jobs = [small("plain"), small("one", loras=one), small("plain-2", seed=2), small("two", loras=two),
                small("other-order", loras=two[::-1]), small("one-again", loras=one, num_frames=1), small("last", steps=3)]
        # Among jobs of one priority a rank prefers those of the LoRAs that it has: so they come in this order and no other.
        jobs = [{**job, "priority": -place} for place, job in enumerate(jobs)]
        together = self.write_jobs(*jobs, small("lost", loras=[{"path": "foreign.safetensors"}]))
        self.assert_ended(nightreel("run", together, "--model", SHAPES, "--out", self.out, "--threads", "1"), 1)
        failed = [job for job in self.run_json()["jobs"] if job["state"] == "failed"]
        self.assertEqual([job["id"] for job in failed], ["lost"])
        self.assertEqual(failed[0]["error"]["kind"], "job")
        self.assertIn("foreign.safetensors: matches nothing in this model; its keys: transformer.unet.mid_block.to_q.lora_A",
                      failed[0]["error"]["message"])

        videos = {job["id"]: sha256(self.out / f"videos/{job['id']}.mp4") for job in jobs}
        self.assertEqual(videos["two"], videos["other-order"])
        self.assertEqual(len({videos[name] for name in ("plain", "one", "two")}), 3)
        sidecars = {job["id"]: json.loads((self.out / f"videos/{job['id']}.json").read_text()) for job in jobs}
        for name, sidecar in sidecars.items():
            ended = engine(*shlex.split(sidecar["generate"])[1:], cwd=self.folder)
            self.assert_ended(ended, 0)
            self.assertEqual(sha256(self.folder / f"{name}.mp4"), videos[name], name)

        sidecar = sidecars["two"]
        self.assertEqual([entry["scale"] for entry in sidecar["settings"]["loras"]], [1.0, 0.8])
        digests = {entry["path"].split("/")[-1]: entry["digest"] for entry in sidecar["loras"]}
        self.assertEqual(set(digests), {"peft.safetensors", "kohya.safetensors"})
        self.assertEqual([len(digest) for digest in digests.values()], [32, 32])

    def test_keys_that_the_model_has_no_place_for_are_told(self):
        path = self.folder / "partly.safetensors"
        safetensors.torch.save_file(safetensors.torch.load_file(self.folder / "peft.safetensors")
                                    | safetensors.torch.load_file(self.folder / "foreign.safetensors"), path)
        jobs = self.write_jobs(small("a", loras=[{"path": path.name}]))
        ended = nightreel("run", jobs, "--model", SHAPES, "--out", self.out, "--threads", "1")
        self.assert_ended(ended, 0)
        self.assertRegex(ended.log, "a: left out, this model has no such parts: .*partly.safetensors: "
                                    "transformer.unet.mid_block.to_q.lora_A.weight")

    def test_each_expert_takes_what_is_for_it_and_both_what_is_for_none(self):
        def made(steps, *entry):
            """The latents."""
            archive = self.folder / "v.h5"
            loras = ["--loras", json.dumps([{"path": "peft.safetensors", **entry[0]}])] if entry else []
            ended = engine("generate", "--model", SHAPES, "--prompt", "a red circle", "--seed", 1, "--num-frames", 1,
                              "--height", 16, "--width", 16, "--num-inference-steps", steps, "-o", self.folder / "v.mp4",
                              "--archive", "latents", "--archive-file", archive, *loras, cwd=self.folder)
            self.assert_ended(ended, 0)
            with h5py.File(archive) as file:
                return file["latents"][...].tobytes()

        high, low, both = {"expert": "high"}, {"expert": "low"}, {}
        # A single step is one of much noise.
        self.assertEqual(made(1, low), made(1))
        self.assertEqual(made(1, high), made(1, both))
        self.assertNotEqual(made(1, high), made(1))
        self.assertEqual(len({made(4), made(4, high), made(4, low), made(4, both)}), 4)

    def test_generate_refuses_what_does_not_fit(self):
        single = self.folder / "one expert"
        damage.copy(SHAPES, single)
        damage.json_with("model_index.json", transformer_2=[None, None], boundary_ratio=None)(single)
        damage.json_with("nightreel.json", guidance_scale_2=None)(single)
        arguments = ["generate", "--prompt", "a red circle", "--num-frames", 1, "--height", 16, "--width", 16,
                     "--num-inference-steps", 1, "-o", self.folder / "v.mp4", "--model", SHAPES]
        for entry, says in (({"path": "peft.safetensors", "expert": "low"}, "this model has one expert"),
                            ({"path": "none.safetensors"}, "none.safetensors"),
                            ({"path": "peft.safetensors", "strength": 1}, "strength: unknown field")):
            ended = engine(*arguments[:-1], single, "--loras", json.dumps([entry]), cwd=self.folder)
            self.assert_refused(ended, 2, "loras: [0]: ", says)
        (self.folder / "torn.safetensors").write_bytes((self.folder / "peft.safetensors").read_bytes()[:-1])
        # The header is read before weights are, keys when the model is there.
        for name, code, says in (("torn", 2, "is it cut off?"), ("foreign", 1, "matches nothing in this model; its keys: ")):
            ended = engine(*arguments, "--loras", json.dumps([{"path": f"{name}.safetensors"}]), cwd=self.folder)
            self.assert_refused(ended, code, f"{name}.safetensors: ", says)


if __name__ == "__main__":
    program.main()
