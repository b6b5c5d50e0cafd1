"""Pictures of every kind that is read, and what Pillow and diffusers make of them.

Usage: make_images.py DIR; tests/parity/make_goldens.py makes them along with the goldens.
Writes NAME.png, NAME.jpg or NAME.webp, and beside each NAME.EXT.rgb (raw bytes [height, width, 3] as diffusers'
load_image gives them) and, brought to 96x64 by diffusers' VideoProcessor, NAME.EXT.sized. cases.json lists the names
and sizes. resample.json lists sizes of DIR/*.raw, made from photo.raw by Pillow with each filter.
"""

import json
import sys
from pathlib import Path

import numpy
from diffusers.utils import load_image
from diffusers.video_processor import VideoProcessor
from PIL import Image

random = numpy.random.default_rng(3)


def photo(width, height):
    coarse = Image.fromarray(random.integers(0, 256, (5, 7, 3), dtype=numpy.uint8))
    pixels = numpy.array(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    pixels[height // 3 : height // 2, width // 5 : width // 2] = random.integers(0, 256, 3)
    return Image.fromarray((pixels + random.integers(-9, 10, pixels.shape)).clip(0, 255).astype(numpy.uint8))


def turned_jpeg(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return dict(format="JPEG", quality=88, exif=exif)


base = photo(123, 75)
alpha = base.copy()
alpha.putalpha(Image.fromarray(random.integers(0, 256, (75, 123), dtype=numpy.uint8)))
CASES = {
    "rgb.png": (base, {}),
    "rgba.png": (alpha, {}),
    "grey.png": (base.convert("L"), {}),
    "grey_alpha.png": (alpha.convert("LA"), {}),
    "palette.png": (base.quantize(200), {}),
    "four_colours.png": (base.quantize(4), {}),
    "two_colours.png": (base.convert("1"), {}),
    "interlaced_turned.png": (base, dict(exif=turned_jpeg(6)["exif"])),
    "one_pixel.png": (photo(40, 40).crop((3, 3, 4, 4)), {}),
    "large.png": (photo(640, 301), {}),
    "full.jpg": (base, dict(quality=91, subsampling=0)),
    "across.jpg": (base, dict(quality=85, subsampling=1)),
    "both.jpg": (base, dict(quality=85, subsampling=2)),
    "progressive.jpg": (base, dict(quality=60, progressive=True)),
    "grey.jpg": (base.convert("L"), dict(quality=75)),
    "narrow.jpg": (photo(3, 60), dict(quality=95)),
    "odd.jpg": (photo(31, 17), dict(quality=70, subsampling=2)),
    "large.jpg": (photo(512, 333), dict(quality=80)),
    "lossless.webp": (base, dict(lossless=True)),
    "lossless_alpha.webp": (alpha, dict(lossless=True, exact=True)),
    "lossy.webp": (base, dict(quality=80)),
    "lossy_alpha.webp": (alpha, dict(quality=80)),
    "lossy_even.webp": (photo(64, 48), dict(quality=40)),
    "animated.webp": (base, dict(save_all=True, append_images=[photo(123, 75)], duration=40)),
    "animated.png": (base, dict(save_all=True, append_images=[photo(123, 75)], duration=40)),
    "cmyk.jpg": (base.convert("CMYK"), dict(quality=90)),
    "turned.webp": (base, dict(quality=80, exif=turned_jpeg(6)["exif"])),
    "turned_by_xmp.jpg": (base, dict(xmp=b'<a tiff:Orientation="8"/>')),
} | {f"turned_{n}.jpg": (base, turned_jpeg(n)) for n in range(1, 9)}  # fmt: skip


def make(out):
    out.mkdir(parents=True, exist_ok=True)
    sizes = {}
    for name, (image, options) in CASES.items():
        image.save(out / name, **options)
        read = load_image(str(out / name))
        (out / f"{name}.rgb").write_bytes(read.tobytes())
        sized = VideoProcessor(vae_scale_factor=8).preprocess(read, height=64, width=96)[0]
        sized = ((sized + 1) * 127.5).round().byte().permute(1, 2, 0).contiguous()
        (out / f"{name}.sized").write_bytes(sized.numpy().tobytes())
        sizes[name] = read.size
    (out / "cases.json").write_text(json.dumps(sizes))

    resampled = []
    source = photo(101, 57)
    (out / "photo.raw").write_bytes(source.tobytes())
    for width, height in [(101, 57), (50, 57), (101, 20), (37, 91), (303, 171), (7, 5), (1, 1), (102, 56)]:
        for filter_name in ("bicubic", "lanczos"):
            sized = source.resize((width, height), getattr(Image.Resampling, filter_name.upper()))
            name = f"{filter_name}_{width}x{height}.raw"
            (out / name).write_bytes(sized.tobytes())
            resampled.append([filter_name, width, height, name])
    (out / "resample.json").write_text(json.dumps(resampled))


if __name__ == "__main__":
    make(Path(sys.argv[1]))
