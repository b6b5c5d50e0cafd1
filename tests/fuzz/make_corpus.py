"""Writes the seeds of tests/fuzz/corpus: sound inputs of each kind, and hostile ones that were tried by hand.

    .venv/bin/python tests/fuzz/make_corpus.py

What libFuzzer found and was mended is added to a corpus by hand and stays there: only the names below are written.
"""
import base64
import io
import json
import pathlib
import struct
import zipfile
import zlib

import h5py
import numpy
from PIL import Image

SOURCE = pathlib.Path(__file__).resolve().parents[2]
CORPUS = pathlib.Path(__file__).resolve().parent / "corpus"
SHAPES = SOURCE / "models/shapes"
WITHOUT_TIMES = {"track_times": False}


def put(target, name, content):
    (CORPUS / target).mkdir(parents=True, exist_ok=True)
    (CORPUS / target / name).write_bytes(content.encode() if isinstance(content, str) else content)


def lines(*objects):
    return "".join(json.dumps(one) + "\n" for one in objects)


# ---- jobs, messages, prompts, configuration -------------------------------------------------------------------------

FULL_JOB = {"id": "one", "prompt": "a red circle", "negative_prompt": "blurred", "height": 16, "width": 32, "num_frames": 5,
            "fps": 8.0, "guidance_scale": 3.0, "guidance_scale_2": 2.5, "flow_shift": 3.0, "boundary_ratio": 0.9,
            "sampler": "euler", "sigmas": [1.0, 0.5, 0.25], "seed": 18446744073709551615 >> 1, "priority": -3,
            "max_attempts": 2, "timeout_s": 1.5}


def jobs():
    put("job_lines", "full", lines(FULL_JOB))
    put("job_lines", "several", "\ufeff" + lines({"prompt": "a"}, {"prompt": "b", "id": "b"}) + "\r\n" + lines({"prompt": "a"}))
    put("job_lines", "files", lines({"prompt": "a", "image": "jobs.jsonl", "last_image": "missing.png",
                                     "loras": [{"path": "jobs.jsonl", "scale": 0.5, "expert": "high"}]}))
    put("job_lines", "outside", lines({"prompt": "a", "image": "/etc/hostname"}, {"prompt": "a", "image": "../../etc/hostname"}))
    put("job_lines", "terminal", lines({"id": "no\u001b[31m\n", "prompt": "\u001b]0;owned\u0007"}, {"pro\u001b[31mmpt": "a"}))
    put("job_lines", "unknown-long", lines({"prompt": "a", "x" * 4000: 1}))
    put("job_lines", "reserved", lines({"id": "inbox-06374db03c0a09f1", "prompt": "a"}, {"id": "-x", "prompt": "a"}))
    put("job_lines", "twice", '{"prompt": "a", "prompt": "b"}\n{"id": "x", "prompt": "a"}\n{"id": "x", "prompt": "b"}\n')
    put("job_lines", "deep", '{"prompt": ' + "[" * 100 + "]" * 100 + "}\n")
    put("job_lines", "surrogate", '{"prompt": "\\ud800"}\n')
    put("job_lines", "huge-number", '{"prompt": "a", "seed": 1e999, "num_frames": 99999999999999999999}\n')


SETTINGS = {"prompt": "a red circle moves right on a black background", "negative_prompt": "blurred", "height": 16, "width": 16,
            "num_frames": 5, "fps": 8.0, "num_inference_steps": 2, "guidance_scale": 3.0, "guidance_scale_2": None,
            "flow_shift": 3.0, "boundary_ratio": None, "sampler": "unipc", "sigmas": [], "seed": 1, "image": "",
            "last_image": "", "loras": []}


def render(job, token, **changed):
    request = {"v": 1, "type": "render", "job": job, "token": token, "settings": SETTINGS, "spec": {"prompt": "a"},
               "video": f"@/{job}.mp4", "sheet": f"@/{job}.jpg", "archive": f"@/{job}.h5", "checkpoint": f"@/{job}-state.h5",
               "archive_content": "latents", "checkpoint_every": 1, "memory": 0}
    return {**request, **changed}


def plain(type_, /, **fields):
    return {"v": 1, "type": type_, **fields}


GROUP = plain("group", backend="store", address="", rank=0, size=1, deadline_ms=1000, listen_on="", stay=False)
EVENTS = {
    "ready": plain("ready", model_digest="5" * 32, model={"path": "m"}, versions={"libtorch": "2"}, device="cpu", device_uuid="",
                   memory_bytes=0, allocator="", memory=None, plan=None, cpu_capability="AVX2", threads=1, load_s=0.5,
                   load={"bytes_read": 1, "shared": False}),
    "ready-versions": plain("ready", model_digest="5" * 32, model={}, versions="none", device="cpu", device_uuid="",
                            memory_bytes=0, memory={}, cpu_capability="", threads=1, load_s=0.0),
    "rendezvous": plain("rendezvous", address="127.0.0.1:1", joined=False),
    "progress": plain("progress", job="one", token=7, stage="denoise", step=1, steps=4),
    "checkpoint": plain("checkpoint", job="one", token=7, step=2),
    "done": plain("done", job="one", token=7, frames=5, height=16, width=16, resumed_step=0, timings={"denoise": 0.1},
                  unused_keys=["a"], lora_digests={"/l": "d"}, plan=None),
    "failed": plain("failed", job="", token=0, kind="device_memory", message="no\u001b[31m", memory_failed="decode=1"),
    "probed": plain("probed", facts={"libtorch": "2"}, transfers=[]),
    "heartbeat": plain("heartbeat")}


def messages():
    for name, event in EVENTS.items():
        put("protocol", name, json.dumps(event))
    put("protocol", "render", json.dumps(render("one", 7)))
    put("protocol", "group", json.dumps(GROUP))
    put("protocol", "probe", json.dumps(plain("probe", what="group", group=GROUP, transfers=[
        {"name": "a", "verb": "all_gather", "elements": 2}], repeats=1)))
    put("protocol", "cancel", json.dumps(plain("cancel", job="one", token=7)))
    put("protocol", "other-version", json.dumps({"v": 2, "type": "\u001b[31m"}))
    put("protocol", "deep", '{"v": 1, "type": ' + "[" * 90)


def sessions():
    put("renderer", "video", lines(render("one", 1)))
    put("renderer", "two", lines(render("one", 1), render("two", 2, archive="", settings={**SETTINGS, "sampler": "euler"}),
                                 plain("cancel", job="one", token=1)))
    put("renderer", "state", lines(render("one", 1), plain("checkpoint_and_stop", job="one", token=1), render("one", 2)))
    put("renderer", "picture", lines(render("one", 1, settings={**SETTINGS, "image": "@/missing.png"}),
                                     render("two", 2, settings={**SETTINGS, "loras": [{"path": "@/l", "scale": 1.0,
                                                                                        "expert": "both"}]})))
    put("renderer", "probes", lines(plain("probe"), GROUP, plain("probe", what="model", model="@"), plain("shutdown")))
    put("renderer", "misfits", lines(render("one", 1, settings={**SETTINGS, "height": 17}),
                                     render("two", 2, settings={**SETTINGS, "num_frames": 2}),
                                     render("three", 3, archive_content="frames", video="@/no/folder.mp4")))
    put("renderer", "nonsense", lines(plain("dance")) + "\x00\x1b[31m\n")
    put("renderer", "half", lines(render("one", 1))[:-20])


def prompts():
    put("prompt", "plain", "a red circle moves right on a black background")
    put("prompt", "special", "</s><pad><extra_id_0> &amp;amp;amp; &#x1F600; &lt;b&gt;")
    put("prompt", "mojibake", "âœ” schÃ¶n \u00a0\u200d\u202e".encode() + b"\xff\xc3")
    put("prompt", "accents", "e" + "\u0301" * 200)
    put("prompt", "blanks", " \t\r\n\u3000" * 40 + "猫 ﬁ ㌀ ①")
    put("prompt", "emoji", "\U0001f468\u200d\U0001f469\u200d\U0001f467" * 20)
    put("prompt", "controls", "\x00\x1b[31m\x9b\x7f")


def configuration():
    put("config", "flat", 'queue = "night"\nlease = 30\nfollow = true\nagain = ["a", "b"]\n')
    put("config", "table", "[run]\nlease = 30\nmax-attempts = 3\n[[run.more]]\nx = {a = 1}\n")
    put("config", "terminal", '"no\x1b[31m\x07" = 1\n')
    put("config", "quotes", "queue = 'a\\'\nagain = [\n  1,\n")
    put("config", "misspelt", "lese = 3\n")


def summaries():
    result = {"id": "one", "state": "done", "video": "videos/one.mp4", "error": None}
    summary = {"rank": 3, "host": "a", "device": "cpu", "group": [2, 3], "group_changes": ["left"], "stopped_early": True,
               "jobs": [result], "error": {"kind": "queue", "message": "away"}}
    put("rank_summary", "guess", json.dumps(summary))
    put("rank_summary", "terminal", '{"rank\x1b[31m": "\x07')
    put("rank_summary", "text", "\x1b[31m{")
    put("rank_summary", "list", "[1, 2]")


# ---- models ---------------------------------------------------------------------------------------------------------

def folder_of(files):
    return "".join(f"=== {name}\n{content}\n" for name, content in files.items())


def wan(kind, dim, heads, layers, ffn, inputs, outputs):
    return json.dumps({"_class_name": "WanModel", "dim": dim, "eps": 1e-06, "ffn_dim": ffn, "freq_dim": 256, "in_dim": inputs,
                       "model_type": kind, "num_heads": heads, "num_layers": layers, "out_dim": outputs, "text_len": 512})


def cards():
    names = ("model_index.json", "nightreel.json", "transformer/config.json", "transformer_2/config.json", "vae/config.json",
             "text_encoder/config.json", "scheduler/scheduler_config.json")
    shapes = {name: (SHAPES / name).read_text().strip() for name in names}
    put("model_card", "shapes", folder_of(shapes))
    for name in names:
        put("model_card", f"shapes-without-{name.replace('/', '-')}", folder_of({**shapes, name: ""}))
    parts = {"Wan2.1_VAE.pth": "", "models_t5_umt5-xxl-enc-bf16.pth": "", "google/umt5-xxl/tokenizer_config.json": "{}"}
    experts = wan("t2v", 5120, 40, 40, 13824, 16, 16)
    put("model_card", "original", folder_of({"config.json": wan("t2v", 1536, 12, 30, 8960, 16, 16), **parts}))
    put("model_card", "original-experts", folder_of({"high_noise_model/config.json": experts,
                                                     "low_noise_model/config.json": experts, **parts}))
    # Half a download: reading it went round in circles.
    put("model_card", "original-half", folder_of({"high_noise_model/config.json": experts, **parts}))
    put("model_card", "original-other-half", folder_of({"low_noise_model/config.json": experts, **parts}))
    begun = {f"{name}_noise_model/diffusion_pytorch_model.safetensors.index.json": "{}" for name in ("high", "low")}
    put("model_card", "original-indexes-alone", folder_of({**begun, **parts}))
    put("model_card", "original-begun", folder_of({"high_noise_model/config.json": experts, **begun, **parts}))
    put("model_card", "original-begun-last", folder_of({"low_noise_model/config.json": experts, **begun, **parts}))
    put("model_card", "original-parts-alone", folder_of(parts))
    put("model_card", "original-i2v", folder_of({
        "config.json": wan("i2v", 5120, 40, 40, 13824, 36, 16), **parts,
        "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth": ""}))
    index = {"metadata": {"total_size": 1}, "weight_map": {"a": "no\u001b[31m\n\u001b]0;owned\u0007.safetensors"}}
    put("model_card", "index-escape", folder_of({
        **shapes, "transformer/diffusion_pytorch_model.safetensors.index.json": json.dumps(index)}))
    put("model_card", "terminal", folder_of({**shapes, "model_index.json": json.dumps({
        "_class_name": "Wan\u001b[31mPipeline\n"})}))


def message(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value):
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def piece(text, score, kind=1):
    return message(1, message(1, text.encode()) + varint(2 << 3 | 5) + struct.pack("<f", score) + varint(3 << 3) + varint(kind))


def charsmap():
    """Makes "a" of "A", as tests/text/tokenizer_test.cpp has it."""
    units = [0] * 256
    units[0] = 0x40 << 10
    units[0x40 ^ ord("A")] = ord("A") | 0x100 | 0x02 << 10
    units[0x40 ^ ord("A") ^ 0x02] = 0x80000000
    return struct.pack("<I", 4 * len(units)) + struct.pack("<256I", *units) + b"a\0"


def tokenizers():
    pieces = b"".join([piece("<pad>", 0, 3), piece("</s>", 0, 3), piece("<unk>", 0, 2), piece("\u2581", -3), piece("a", -3),
                       piece("b", -3), piece("\u2581ab", -4), piece("<mark>", 0, 4)])
    tail = message(2, varint(3 << 3) + varint(1)) + message(3, message(2, charsmap()))
    put("spiece", "small", pieces + tail)
    put("spiece", "no-unknown", piece("a", -1) + tail)
    put("spiece", "without-map", pieces + message(2, varint(3 << 3) + varint(1)))
    put("spiece", "cut", (pieces + tail)[:-40])
    put("spiece", "endless-varint", b"\xff" * 40)
    real = json.loads((SHAPES / "tokenizer/tokenizer.json").read_text())
    real["normalizer"] = None
    real["model"]["vocab"] = real["model"]["vocab"][:40]
    put("tokenizer_json", "small", json.dumps(real, ensure_ascii=False))
    put("tokenizer_json", "replace", json.dumps({**real, "normalizer": {"type": "Sequence", "normalizers": [
        {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "\u2581"}, {"type": "NFKC"}]}}))
    put("tokenizer_json", "charsmap", json.dumps({**real, "normalizer": {
        "type": "Precompiled", "precompiled_charsmap": base64.b64encode(charsmap()).decode()}}))
    put("tokenizer_json", "unknown", json.dumps({**real, "model": {**real["model"], "type": "B\u001b[31mPE"}}))


def tensors(header, data=b""):
    text = header if isinstance(header, str) else json.dumps(header)
    return struct.pack("<Q", len(text.encode())) + text.encode() + data


def entry(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def weights():
    lora = {"transformer.blocks.0.attn1.to_q.lora_A.weight": entry("F32", [2, 4], 0, 32),
            "transformer.blocks.0.attn1.to_q.lora_B.weight": entry("F32", [4, 2], 32, 64),
            "__metadata__": {"lora_adapter_metadata": json.dumps({"transformer.lora_alpha": 4, "transformer.r": 2})}}
    kohya = {"lora_unet_blocks_0_self_attn_q.lora_down.weight": entry("BF16", [2, 4], 0, 16),
             "lora_unet_blocks_0_self_attn_q.lora_up.weight": entry("BF16", [4, 2], 16, 32),
             "lora_unet_blocks_0_self_attn_q.alpha": entry("F32", [], 32, 36)}
    put("safetensors", "lora", tensors(lora, struct.pack("<16f", *range(16))))
    put("safetensors", "kohya", tensors(kohya, bytes(36)))
    put("safetensors", "difference", tensors({"diffusion_model.blocks.0.self_attn.q.diff": entry("F16", [2, 2], 0, 8)}, bytes(8)))
    put("safetensors", "dtypes", tensors({"a": entry("F8_E4M3", [3], 0, 3), "b": entry("I64", [1], 3, 11),
                                          "c": entry("BOOL", [0], 11, 11)}, bytes(11)))
    put("safetensors", "overlap", tensors({"a": entry("F32", [2], 0, 8), "b": entry("F32", [2], 4, 12)}, bytes(12)))
    put("safetensors", "beyond", tensors({"a": entry("F32", [2 ** 62, 4], 0, 2 ** 63)}))
    put("safetensors", "long-header", struct.pack("<Q", 2 ** 63) + b"{}")
    put("safetensors", "terminal", tensors({"no\u001b[31m\n": entry("F\u001b[31m", [1], 0, 4)}, bytes(4)))
    put("safetensors", "dora", tensors({**lora, "__metadata__": {"lora_adapter_metadata": json.dumps({
        "transformer.use_dora": True, "transformer.alpha_pattern": {"^a.*": "b"}})}}, bytes(64)))


def pickled(storage_class, count, shape, strides, key="0"):
    """A state dict of one tensor, by hand: protocol 2, as torch.save writes it."""
    def text(value):
        return b"X" + struct.pack("<I", len(value)) + value.encode()

    def numbers(values):
        return b"(" + b"".join(b"J" + struct.pack("<i", value) for value in values) + b"t"
    stored = b"(" + text("storage") + f"ctorch\n{storage_class}\n".encode() + text(key) + text("cpu") + b"J" + \
        struct.pack("<i", count) + b"tQ"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + stored + b"K\0" + numbers(shape) + numbers(strides) + \
        b"\x89ccollections\nOrderedDict\n)RtR"
    return b"\x80\x02}q\0" + text("weight") + tensor + b"s."


def zipped(entries, method=zipfile.ZIP_STORED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as file:
        for name, content in entries.items():
            file.writestr(zipfile.ZipInfo(name), content, method)
    return out.getvalue()


def pickles():
    def whole(pickle_bytes, data=bytes(16)):
        return {"archive/data.pkl": pickle_bytes, "archive/byteorder": b"little", "archive/data/0": data, "archive/version": b"3\n"}
    sound = pickled("FloatStorage", 4, [2, 2], [2, 1])
    put("pth", "sound", zipped(whole(sound)))
    put("pth", "transposed", zipped(whole(pickled("FloatStorage", 4, [2, 2], [1, 2]))))
    put("pth", "beyond", zipped(whole(pickled("FloatStorage", 4, [2, 2 ** 30], [2 ** 30, 1]))))
    put("pth", "compressed", zipped(whole(sound), zipfile.ZIP_DEFLATED))
    put("pth", "calls", zipped(whole(b"\x80\x02cposix\nsystem\nX\x02\0\0\0idtR.")))
    put("pth", "no-pickle", zipped({"archive/data/0": bytes(16)}))
    put("pth", "cut", zipped(whole(sound))[:-30])
    put("pth", "memo-bomb", zipped(whole(b"\x80\x02]q\0" + b"h\0h\0\x86" * 400 + b".")))


# ---- HDF5 -----------------------------------------------------------------------------------------------------------

ARCHIVE = {"format": "nightreel-archive", "format_version": 1, "job": '{"prompt": "a"}', "settings": json.dumps(SETTINGS),
           "model": '{"path": "/nowhere"}'}
STATE = {"format": "nightreel-checkpoint", "format_version": 1, "job_hash": "h", "model_digest": "d",
         "info": '{"next_step": 1, "plan": null}'}


def hdf5(attributes, datasets=(), more=None, **options):
    out = io.BytesIO()
    with h5py.File(out, "w", **options) as file:
        for name, value in attributes.items():
            file.attrs[name] = numpy.bytes_(value) if isinstance(value, str) else value
        for name, values, kept in datasets:
            file.create_dataset(name, data=values, **WITHOUT_TIMES, **kept)
        if more:
            more(file)
    return out.getvalue()


def unallocated(name, shape, links=0):
    """Numbers that take no room in the file, under as many names as wanted."""
    def make(file):
        made = file.create_dataset(name, shape, "<f4", chunks=tuple(max(1, side // 2) for side in shape), **WITHOUT_TIMES)
        for number in range(links):
            file[f"{name}-{number}"] = made
    return make


def archives():
    latents = numpy.arange(4 * 2 * 2 * 2, dtype="<f4").reshape(4, 2, 2, 2)
    whole = [("latents", latents, {"chunks": (1, 2, 2, 2)})]
    frames = ("frames", numpy.zeros((5, 16, 16, 3), "u1"), {"chunks": (1, 16, 16, 3), "compression": "gzip"})
    put("archive", "sound", hdf5(ARCHIVE, whole))
    put("archive", "frames", hdf5(ARCHIVE, [*whole, frames]))
    put("archive", "latest-format", hdf5(ARCHIVE, whole, libver="latest"))
    put("archive", "no-settings", hdf5({**ARCHIVE, "settings": "{}"}, whole))
    put("archive", "model-number", hdf5({**ARCHIVE, "model": '{"path": 1}'}, whole))
    put("archive", "not-finite", hdf5(ARCHIVE, [("latents", latents * numpy.float32("nan"), {})]))
    put("archive", "unallocated", hdf5(ARCHIVE, more=unallocated("latents", (16, 21, 60, 104))))
    put("archive", "soft-link", hdf5(ARCHIVE, whole, lambda file: file.__setitem__("frames", h5py.SoftLink("/latents"))))
    put("archive", "outside", hdf5(ARCHIVE, more=lambda file: file.create_dataset(
        "latents", (1, 1, 1, 4), "<f4", external=[("/etc/hostname", 0, 16)], **WITHOUT_TIMES)))


def states():
    arrays = [("latents", numpy.arange(16, dtype="<f4").reshape(4, 1, 2, 2), {}), ("sampler-last", numpy.zeros(3, "<f8"), {}),
              ("steps", numpy.int64(3), {})]
    put("state", "sound", hdf5(STATE, arrays))
    put("state", "latest-format", hdf5(STATE, arrays, libver="latest"))
    put("state", "odd-names", hdf5(STATE, [("no\x1b[31m", numpy.zeros(2, "<f4"), {})]))
    put("state", "other-type", hdf5(STATE, [("latents", numpy.zeros(2, "<c8"), {})]))
    put("state", "links-110", hdf5(STATE, more=unallocated("latents", (4, 2, 32, 32), 110)))


# ---- pictures, Redis ------------------------------------------------------------------------------------------------

def picture(kind, mode="RGB", size=(24, 16), **options):
    values = numpy.arange(size[0] * size[1] * 3, dtype="u4").reshape(size[1], size[0], 3) * 7 % 256
    out = io.BytesIO()
    Image.fromarray(values.astype("u1")).convert(mode).save(out, kind, **options)
    return out.getvalue()


def cut_webp():
    """Data cut off, the sizes of its chunks made to match: it was taken as sound."""
    whole = picture("WEBP", size=(64, 64), quality=80)
    kept = whole[:len(whole) * 6 // 10 // 2 * 2]
    return b"RIFF" + struct.pack("<I", len(kept) - 8) + kept[8:16] + struct.pack("<I", len(kept) - 20) + kept[20:]


def png_chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def pictures():
    exif = Image.Exif()
    exif[0x112] = 6
    for kind in ("PNG", "JPEG", "WEBP"):
        put("pictures", f"plain-{kind.lower()}", picture(kind))
        put("pictures", f"turned-{kind.lower()}", picture(kind, exif=exif))
        put("pictures", f"cut-{kind.lower()}", picture(kind)[:-20])
    for mode in ("L", "LA", "RGBA", "P", "1", "I;16"):
        put("pictures", f"mode-{mode.replace(';', '-')}-png", picture("PNG", mode))
    put("pictures", "cmyk-jpeg", picture("JPEG", "CMYK"))
    put("pictures", "grey-jpeg", picture("JPEG", "L"))
    put("pictures", "progressive-jpeg", picture("JPEG", progressive=True))
    put("pictures", "lossless-webp", picture("WEBP", lossless=True))
    put("pictures", "alpha-webp", picture("WEBP", "RGBA"))
    put("pictures", "webp-cut", cut_webp())
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    for kind in ("WEBP", "PNG"):
        out = io.BytesIO()
        frames[0].save(out, kind, save_all=True, append_images=frames[1:])
        put("pictures", f"animated-{kind.lower()}", out.getvalue())
    huge = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0))
    put("pictures", "huge-png", huge + png_chunk(b"IDAT", zlib.compress(bytes(100))) + png_chunk(b"IEND", b""))
    put("pictures", "other", b"GIF89a\x01\0\x01\0\0\0\0;")


def bulk(text):
    return f"${len(text)}\r\n{text}\r\n"


def array(*items):
    return f"*{len(items)}\r\n" + "".join(items)


def replies():
    calls = ("submit", "take_inbox", "bind_model", "claim", "renew", "begin_publish", "complete", "fail", "release", "cancel",
             "retry", "reap", "counts", "list", "lookup", "ping")
    counts = [f":{number}\r\n" for number in range(8)]
    view = array(*(bulk(text) for text in ("job", "failed", "1", "0", "host", "denoise", "1", "4", "0.5", "storage", "full", "1",
                                           "0", "/out", "", "", "hash", "run")))
    answers = {
        "submit": array(bulk("OK"), array(bulk("ADD"), bulk(""))) + "\0" + array(bulk("OK"), array(bulk("ADD"), bulk(""))),
        "take_inbox": array(array(bulk("{}")), array(array(bulk("inbox-1"), bulk("too long")))) + f"\0{bulk('a' * 40)}\0" + array(
            bulk("REJECTED"), bulk("inbox-2"), bulk("no job")) + "\0" + array("*0\r\n", "*0\r\n"),
        "bind_model": array(bulk("OTHER_MODEL"), bulk("d\x1b[31m")),
        "claim": array(*(bulk(text) for text in ("JOB", "job", "7", "1", "3", "{}", "hash", "", "1", ""))),
        "renew": array(bulk("OK"), bulk("1")), "begin_publish": bulk("STALE"), "complete": bulk("OK"),
        "fail": array(bulk("OK"), bulk("delayed")), "release": array(bulk("OK"), bulk("pending")), "cancel": bulk("ASKED"),
        "retry": bulk("INBOX"), "reap": ":2\r\n", "counts": array(*counts), "list": array(view), "lookup": array(view),
        "ping": "+PONG\r\n"}
    loaded = (bulk("a" * 40) + "\0").encode()  # what SCRIPT LOAD says
    for number, call in enumerate(calls):
        put("redis_replies", call, bytes([number]) + (b"" if call == "ping" else loaded) + answers[call].encode())
    claim = bytes([calls.index("claim")]) + loaded
    put("redis_replies", "nothing", claim + array(bulk("NONE"), ":-1\r\n", *counts).encode())
    put("redis_replies", "no-script", claim + b"-NOSCRIPT No matching script\r\n\0" + answers["claim"].encode())
    put("redis_replies", "moved", claim + b"-MOVED 3999 127.0.0.1:6381\x1b[31m\r\n")
    put("redis_replies", "oom", claim + b"-OOM command not allowed\r\n")
    put("redis_replies", "deep", claim + b"*1\r\n" * 300)
    put("redis_replies", "huge", claim + b"$2147483647\r\nx")
    put("redis_replies", "many", claim + b"*2147483647\r\n")
    put("redis_replies", "checked", bytes([128 + calls.index("ping")]) + bulk("redis_version:7.0.15\r\nredis_mode:standalone\r\n"
                                                                             ).encode() + b"\0+PONG\r\n")


if __name__ == "__main__":
    for make in (jobs, messages, sessions, prompts, configuration, summaries, cards, tokenizers, weights, pickles, archives, states,
                 pictures, replies):
        make()
