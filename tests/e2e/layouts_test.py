"""One model in both layouts: the same digest, the same videos to the last byte; what check and convert tell."""
import json
import shutil

import h5py
import torch
from safetensors.torch import load_file

import program
from program import SHAPES, nightreel, small


def latents(archive):
    with h5py.File(archive) as file:
        return file["latents"][:]


class Layouts(program.ProgramTest):
    def convert(self, source, name, *flags):
        target = self.folder / name
        ended = nightreel("model", "convert", source, "--to", target, "--json", *flags)
        self.assert_ended(ended, 0)
        return target, json.loads(ended.out)

    def original(self):
        """models/shapes as Wan would have published it: its VAE and text encoder as .pth."""
        folder, report = self.convert(SHAPES, "original", "--layout", "original")
        for file in [folder / "Wan2.1_VAE.safetensors", *folder.glob("models_t5_*.safetensors")]:
            torch.save(load_file(file), file.with_suffix(".pth"))
            file.unlink()
        return folder, report["digest"]

    def info(self, folder):
        ended = nightreel("model", "info", folder, "--json")
        self.assert_ended(ended, 0)
        return json.loads(ended.out)

    def generate(self, folder, name, *flags):
        video, archive = self.folder / f"{name}.mp4", self.folder / f"{name}.h5"
        ended = nightreel("generate", "--model", folder, "--prompt", "a red circle moves left", "--height", "32",
                          "--width", "32", "--num-frames", "5", "--num-inference-steps", "3", "--seed", "1",
                          "--threads", "1", "--archive", "latents", "--archive-file", archive, "-o", video, *flags)
        self.assert_ended(ended, 0)
        return video, archive

    def test_an_original_folder_is_the_same_model(self):
        original, digest = self.original()
        ours, theirs = self.info(original), self.info(SHAPES)
        self.assertEqual(ours["digest"], theirs["digest"])
        self.assertEqual(digest, theirs["digest"])
        self.assertEqual(ours["recipe"], theirs["recipe"])
        ended = nightreel("model", "check", original)
        self.assert_ended(ended, 0)
        self.assertEqual(ended.out.count(" ok "), 4, ended.out)

        video, archive = self.generate(original, "ours")
        same_video, same_archive = self.generate(SHAPES, "theirs")
        self.assertTrue((latents(archive) == latents(same_archive)).all())
        self.assertEqual(video.read_bytes(), same_video.read_bytes())
        decoded = []
        for name, model in ("ours", original), ("theirs", SHAPES):
            again = self.folder / f"{name}-again.mp4"
            self.assert_ended(nightreel("decode", archive, "-o", again, "--model", model, "--threads", "1"), 0)
            decoded.append(again.read_bytes())
        self.assertEqual(*decoded)

        jobs = self.write_jobs(small("a"))
        self.assert_ended(nightreel("run", jobs, "--model", original, "--out", self.out, "--threads", "1"), 0)
        sidecar = json.loads((self.out / "videos/a.json").read_text())
        self.assertIn(theirs["digest"], json.dumps(sidecar))

    def test_precisions_and_what_is_in_the_way(self):
        wide_model, report = self.convert(SHAPES, "f32", "--dtype", "f32")  # what it is stored in is narrower
        whole = {part["name"]: part for part in report["components"]}["transformer"]["bytes_after"]
        for dtype, at_most in {"bf16": 0.55, "f16": 0.55, "fp8": 0.35}.items():
            folder, report = self.convert(wide_model, dtype, "--dtype", dtype)
            parts = {part["name"]: part for part in report["components"]}
            self.assertLess(parts["transformer"]["bytes_after"], at_most * whole)
            self.assertGreater(parts["transformer"]["changed"], 0)
            self.assertEqual(parts["transformer"]["max_error"] > 0, dtype != "f16", "it was float16 before")
            self.assertEqual(parts["vae"]["changed"], 0)
            self.assertNotEqual(report["digest"], self.info(wide_model)["digest"])
            self.assert_ended(nightreel("model", "check", folder), 0)
        _, held = self.generate(self.folder / "fp8", "held", "--dtype", "fp8")
        _, wide = self.generate(self.folder / "fp8", "wide", "--dtype", "f32")
        self.assertTrue((latents(held) == latents(wide)).all(), "the same numbers, held in fp8 or brought back")
        with h5py.File(held) as file:
            self.assertEqual(json.loads(file.attrs["model"])["dtype"], "fp8")
        jobs = self.write_jobs(small("a"))
        ended = nightreel("run", jobs, "--model", wide_model, "--out", self.out, "--dtype", "fp8", "--threads", "1")
        self.assert_ended(ended, 0)
        sidecar = json.loads((self.out / "videos/a.json").read_text())
        self.assertIn("--dtype fp8", sidecar["generate"])
        self.assert_refused(nightreel("model", "convert", SHAPES, "--to", self.folder / "fp8"), 2, "is there already")
        self.assertEqual([path for path in self.folder.iterdir() if path.name.endswith(".part")], [])

    def test_a_damaged_folder_is_told_tensor_by_tensor(self):
        folder = self.folder / "damaged"
        shutil.copytree(SHAPES, folder)
        config = folder / "transformer/config.json"
        config.write_text(json.dumps(json.loads(config.read_text()) | {"num_layers": 7}))
        ended = nightreel("model", "check", folder, "--json")
        self.assertEqual(ended.code, 3, ended.said)
        report = json.loads(ended.out)
        self.assertFalse(report["ok"])
        found = [problem for part in report["components"] for problem in part["problems"]]
        self.assertEqual({problem["what"] for problem in found}, {"missing"})
        self.assertIn("blocks.6.attn1.to_q.weight", [problem["tensor"] for problem in found])


if __name__ == "__main__":
    program.main()
