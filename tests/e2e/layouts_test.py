"""One model in both layouts: the same digest, the same videos to the last byte; what check and convert tell."""
import json
import shutil

import h5py
import torch
from safetensors.torch import load_file

import damage
import program
from program import SHAPES, engine, nightreel, small


def latents(archive):
    with h5py.File(archive) as file:
        return file["latents"][:]


class Layouts(program.ProgramTest):
    def convert(self, source, name, *flags):
        target = self.folder / name
        ended = engine("model", "convert", source, "--to", target, "--json", *flags)
        self.assert_ended(ended, 0)
        return target, json.loads(ended.out)

    def of_wans_boundary(self):
        """models/shapes with the boundary between the experts that Wan's code has: the layout has no place for another."""
        folder = self.folder / "shapes"
        damage.copy(SHAPES, folder)
        damage.json_with("model_index.json", boundary_ratio=0.875)(folder)
        return folder

    def original(self, source):
        """`source` as Wan would have published it: its VAE and text encoder as .pth."""
        folder, report = self.convert(source, "original", "--layout", "original")
        for file in [folder / "Wan2.1_VAE.safetensors", *folder.glob("models_t5_*.safetensors")]:
            torch.save(load_file(file), file.with_suffix(".pth"))
            file.unlink()
        return folder, report["digest"]

    def info(self, folder):
        ended = engine("model", "info", folder, "--json")
        self.assert_ended(ended, 0)
        return json.loads(ended.out)

    def generate(self, folder, name, *flags):
        video, archive = self.folder / f"{name}.mp4", self.folder / f"{name}.h5"
        ended = engine("generate", "--model", folder, "--prompt", "a red circle moves left", "--height", "32",
                          "--width", "32", "--num-frames", "5", "--num-inference-steps", "3", "--seed", "1",
                          "--threads", "1", "--archive", "latents", "--archive-file", archive, "-o", video, *flags)
        self.assert_ended(ended, 0)
        return video, archive

    def test_an_original_folder_is_the_same_model(self):
        shapes = self.of_wans_boundary()
        original, digest = self.original(shapes)
        self.assertEqual({path.parent.name for path in original.glob("*_noise_model/*.safetensors")},
                         {"high_noise_model", "low_noise_model"})
        ours, theirs = self.info(original), self.info(shapes)
        self.assertEqual(ours["digest"], theirs["digest"])
        self.assertEqual(digest, theirs["digest"])
        self.assertEqual(ours["recipe"], theirs["recipe"])
        ended = engine("model", "check", original)
        self.assert_ended(ended, 0)
        self.assertEqual(ended.out.count(" ok "), 5, ended.out)

        video, archive = self.generate(original, "ours")
        same_video, same_archive = self.generate(shapes, "theirs")
        self.assertTrue((latents(archive) == latents(same_archive)).all())
        self.assertEqual(video.read_bytes(), same_video.read_bytes())
        decoded = []
        for name, model in ("ours", original), ("theirs", shapes):
            again = self.folder / f"{name}-again.mp4"
            self.assert_ended(engine("decode", archive, "-o", again, "--model", model, "--threads", "1"), 0)
            decoded.append(again.read_bytes())
        self.assertEqual(*decoded)

        jobs = self.write_jobs(small("a"))
        self.assert_ended(nightreel("run", jobs, "--model", original, "--out", self.out, "--threads", "1"), 0)
        sidecar = json.loads((self.out / "videos/a.json").read_text())
        self.assertIn(theirs["digest"], json.dumps(sidecar))

    def test_a_boundary_that_wans_code_has_not_keeps_a_model_out_of_the_original_layout(self):
        folder = self.of_wans_boundary()
        damage.json_with("model_index.json", boundary_ratio=0.8)(folder)
        ended = engine("model", "convert", folder, "--to", self.folder / "original", "--layout", "original")
        self.assert_refused(ended, 3, str(folder), "boundary_ratio 0.8", "0.875")
        self.assertFalse((self.folder / "original").exists())

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
            self.assert_ended(engine("model", "check", folder), 0)
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
        self.assert_refused(engine("model", "convert", SHAPES, "--to", self.folder / "fp8"), 2, "is there already")
        self.assertEqual([path for path in self.folder.iterdir() if path.name.endswith(".part")], [])

    def test_a_damaged_folder_is_told_tensor_by_tensor(self):
        folder = self.folder / "damaged"
        shutil.copytree(SHAPES, folder)
        for expert in ("transformer", "transformer_2"):
            damage.json_with(f"{expert}/config.json", num_layers=7)(folder)
        ended = engine("model", "check", folder, "--json")
        self.assertEqual(ended.code, 3, ended.said)
        report = json.loads(ended.out)
        self.assertFalse(report["ok"])
        found = [problem for part in report["components"] for problem in part["problems"]]
        self.assertEqual({problem["what"] for problem in found}, {"missing"})
        for part in report["components"]:
            is_expert = part["name"].startswith("transformer")
            self.assertEqual("blocks.6.attn1.to_q.weight" in [problem["tensor"] for problem in part["problems"]], is_expert)


if __name__ == "__main__":
    program.main()
