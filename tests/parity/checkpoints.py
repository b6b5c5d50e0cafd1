"""Random tiny checkpoints in Diffusers layout, and the float32 modules that they hold."""

import copy
import io
import json
from pathlib import Path

import numpy
import sentencepiece
import torch
from diffusers import (
    AutoencoderKLWan,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    UniPCMultistepScheduler,
    WanImageToVideoPipeline,
    WanPipeline,
    WanTransformer3DModel,
)
from safetensors.torch import load_file, save_file
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    CLIPVisionModel,
    T5TokenizerFast,
    UMT5Config,
    UMT5EncoderModel,
)

from weights import randomise

STORAGE = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
VOCABULARY = 160
PROMPT = "a red circle moves left on a black background"
NEGATIVE = "blurred, static"
CORPUS = [PROMPT, NEGATIVE, "a blue square moves right on a white background", "a green cross moves up", "déjà vu"]


def tokenizer(folder):
    """A small SentencePiece Unigram model with T5's ids (pad 0, eos 1, unk 2), as spiece.model."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS * 20), model_writer=model, model_type="unigram", vocab_size=120,
        hard_vocab_limit=False, character_coverage=1.0, pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
        num_threads=1, minloglevel=2,
    )  # fmt: skip
    folder.mkdir(parents=True)
    (folder / "spiece.model").write_bytes(model.getvalue())
    return T5TokenizerFast.from_pretrained(folder, extra_ids=0, model_max_length=512)


def modules(case, generator):
    """The case's modules in float32, with values that its storage precision holds exactly."""
    storage = STORAGE[case["storage"]]
    text = UMT5EncoderModel(UMT5Config(vocab_size=VOCABULARY, **case["text"]))
    wan = dict(text_dim=case["text"]["d_model"], **case["transformer"])
    latents = case["vae"]["z_dim"]
    vae = AutoencoderKLWan(
        latents_mean=torch.randn(latents, generator=generator).mul(0.5).tolist(),
        latents_std=torch.rand(latents, generator=generator).add(0.5).tolist(),
        scale_factor_spatial=2 ** (len(case["vae"]["dim_mult"]) - 1) * case["vae"].get("patch_size", 1),
        **case["vae"],
    )
    parts = dict(text_encoder=text, transformer=WanTransformer3DModel(**wan), vae=vae)
    if "boundary_ratio" in case:
        parts["transformer_2"] = WanTransformer3DModel(**wan)
    if "clip" in case:
        parts["image_encoder"] = CLIPVisionModel(CLIPVisionConfig(**case["clip"]))
    return {name: randomise(module, generator, storage) for name, module in parts.items()}


def scheduler(flow_shift, sampler="unipc", sigmas=None):
    """The class that goes by the name `sampler` in a job; with `sigmas` it walks down these as they stand."""
    if sampler == "euler":
        made = FlowMatchEulerDiscreteScheduler(shift=1.0 if sigmas else flow_shift)
    else:
        kind = dict(unipc=UniPCMultistepScheduler, **{"dpm++": DPMSolverMultistepScheduler})[sampler]
        made = kind(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=1.0 if sigmas else flow_shift)
    return _with_sigmas(made, sigmas) if sigmas else made


def _with_sigmas(made, sigmas):
    original = made.set_timesteps

    def set_timesteps(_steps, device=None):
        if not isinstance(made, DPMSolverMultistepScheduler):
            return original(sigmas=numpy.array(sigmas), device=device)
        original(len(sigmas))  # takes no sigmas
        made.sigmas = torch.tensor([*sigmas, 0.0])
        made.timesteps = (torch.tensor(sigmas, dtype=torch.float64) * 1000).long()

    made.set_timesteps = set_timesteps
    return made


def save(case, parts, folder: Path):
    """Writes DIR as save_pretrained does; returns the text-to-video and the image-to-video pipeline, which compute in
    float32."""
    shared = dict(
        parts,
        tokenizer=tokenizer(folder / "tokenizer"),
        scheduler=scheduler(case["flow_shift"]),
        boundary_ratio=case.get("boundary_ratio"),
        expand_timesteps=case.get("expand_timesteps", False),
    )
    processor = {}
    if "clip" in case:
        side = case["clip"]["image_size"]
        processor["image_processor"] = CLIPImageProcessorPil(
            size={"shortest_edge": side}, crop_size={"height": side, "width": side}
        )
    text_only = {name: part for name, part in shared.items() if name != "image_encoder"}
    pipelines = WanPipeline(**text_only), WanImageToVideoPipeline(**shared, **processor)
    for pipeline in pipelines:
        pipeline.set_progress_bar_config(disable=True)
    takes_picture = parts["transformer"].config.in_channels != parts["transformer"].config.out_channels
    pipelines[1 if takes_picture else 0].save_pretrained(folder)
    for name, module in parts.items():
        _store(module, STORAGE[case["storage"]], case["shard"], folder / name)
    if case.get("as_published"):
        _name_as_published(folder)
    return pipelines


def _name_as_published(folder):
    """As Wan-AI's own folders have it: transformers 4's names in the image encoder, tensors that nobody uses."""
    path = folder / "image_encoder" / "model.safetensors"
    tensors = {f"vision_model.{name}": value for name, value in load_file(path).items()}
    tensors["vision_model.embeddings.position_ids"] = torch.arange(10)[None]
    tensors["visual_projection.weight"] = torch.zeros(4, 16)
    save_file(tensors, path, metadata={"format": "pt"})
    path = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    for name in [name for name in tensors if name.endswith("norm_added_k.weight")]:
        tensors[name.replace("added_k", "added_q")] = tensors[name].clone()
    save_file(tensors, path, metadata={"format": "pt"})


def _store(module, storage, shard, folder):
    """Replaces the folder's weights by ones in `storage`, which holds the values exactly."""
    for old in folder.glob("*.safetensors*"):
        old.unlink()
    # A copy: on the way through `storage` the buffers of the rotary embedding, which no file holds, would be rounded.
    copy.deepcopy(module).to(storage).save_pretrained(folder, **({"max_shard_size": shard} if shard else {}))
    assert bool(list(folder.glob("*.index.json"))) == bool(shard), f"{folder}: sharding is not as asked"
    assert json.loads((folder / "config.json").read_text()), folder
