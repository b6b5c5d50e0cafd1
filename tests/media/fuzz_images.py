"""Damaged and odd pictures, read by Pillow and by nightreel: do they agree whether there is a picture, and on its pixels?

Usage: fuzz_images.py IMAGE_VERDICTS [--mutants N] [--seed S] [--keep DIR]

Pillow's answer is diffusers' load_image: open, exif_transpose, convert("RGB"). Every mutant follows from the seed and its
number alone. Prints the classes in which the answers differ, with their share and the reasons that both gave; --keep
writes one file of each class. Exit code 1: pixels differ (greys of 16 bits are not compared), a class is not in KNOWN,
the classes make up 1 % or more, or the reader died.
"""

import argparse
import collections
import io
import random
import re
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

from PIL import Image, ImageOps

import picture_seeds as seeds

# Where the answers may differ, and why; by a pattern that "PILLOW'S REASON | OURS" fits.
KNOWN = {
    "Exif that Pillow gives up on: we take the picture as it lies, and warn":
        r"^(SyntaxError: not a TIFF file|error: (unpack requires|required argument)|ValueError: non-hexadecimal|TypeError).* \| opened",
    "a damaged progressive JPEG without some of its scans, which libjpeg-turbo's releases conceal in different ways":
        r"^opened \| .*some of its scans are missing",
    "a second frame header behind the last row: Pillow's libjpeg-turbo 3.1 looks at it sooner than Debian's 2.1":
        r"^OSError: broken data stream.* \| opened",
    "a broken index of several pictures (MPF): the first picture does not need it":
        r"^(AssertionError|KeyError|OSError: MPO|UnidentifiedImageError.*multi).* \| opened",
}  # fmt: skip
GREY16 = ("I;16", "I;16B", "I")


def flip(data, rng):
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 8))):
        at = rng.randrange(len(data))
        data[at] = rng.choice((data[at] ^ (1 << rng.randrange(8)), rng.randrange(256), 0, 255))
    return bytes(data)


def cut(data, rng):
    return data[: rng.randrange(len(data))]


def lose(data, rng):
    at = rng.randrange(len(data))
    return data[:at] + data[at + rng.choice((1, 2, 4, rng.randrange(1, 60))) :]


def repeat(data, rng):
    at = rng.randrange(len(data))
    size = rng.randrange(1, 60)
    return data[: at + size] + data[at:]


def insert(data, rng):
    at = rng.randrange(len(data))
    return data[:at] + rng.randbytes(rng.choice((1, 1, 2, 4, 30))) + data[at:]


def number(data, rng):
    """A length or size that is another one."""
    at = rng.randrange(max(len(data) - 4, 1))
    order = rng.choice("<>")
    kind, size = rng.choice((("H", 2), ("L", 4)))
    value = rng.choice((0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0xFFFF, rng.randrange(65536)))
    return data[:at] + struct.pack(order + kind, value) + data[at + size :]


def append(data, rng):
    return data + rng.choice((b"\0" * 7, b"junk", data, rng.randbytes(20)))


def png_parts(data):
    at, parts = 8, []
    while at + 8 <= len(data):
        size = struct.unpack(">L", data[at : at + 4])[0]
        parts.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += size + 12
    return parts


def png_chunks(data, rng):
    """Chunks changed, lost, doubled, moved, their checksums right."""
    parts = png_parts(data)
    at = rng.randrange(len(parts))
    what = rng.randrange(5)
    name, content = parts[at]
    if what == 0 and content:
        parts[at] = (name, rng.choice((flip, cut, insert, number))(content, rng))
    elif what == 1:
        del parts[at]
    elif what == 2:
        parts.insert(rng.randrange(len(parts)), parts[at])
    elif what == 3:
        parts.insert(rng.randrange(len(parts)), parts.pop(at))
    elif any(name == b"IDAT" for name, _ in parts):
        pixels = bytearray(zlib.decompress(b"".join(content for name, content in parts if name == b"IDAT")))
        pixels = rng.choice((flip, cut, append))(bytes(pixels), rng)
        first = next(i for i, (name, _) in enumerate(parts) if name == b"IDAT")
        parts = [part for i, part in enumerate(parts) if i == first or part[0] != b"IDAT"]
        parts[first] = (b"IDAT", zlib.compress(pixels))
    return data[:8] + b"".join(seeds.chunk(name, content) for name, content in parts)


def webp_chunks(data, rng):
    """A chunk changed or cut, the lengths around it right."""
    at, parts = 12, []
    while at + 8 <= len(data):
        size = struct.unpack("<L", data[at + 4 : at + 8])[0]
        parts.append((data[at : at + 4], data[at + 8 : at + 8 + size]))
        at += 8 + size + size % 2
    i = rng.randrange(len(parts))
    name, content = parts[i]
    what = rng.randrange(4)
    if what == 0 and len(parts) > 1:
        del parts[i]
    elif what == 1:
        parts.insert(rng.randrange(len(parts)), parts[i])
    elif content:
        parts[i] = (name, rng.choice((flip, cut, number))(content, rng))
    body = b"WEBP" + b"".join(seeds.riff_chunk(name, content) for name, content in parts)
    return b"RIFF" + struct.pack("<L", len(body)) + body


def jpeg_segments(data, rng):
    """Segments before the scan changed, lost, doubled, filled, their lengths right."""
    at, parts = 2, []
    while data[at : at + 1] == b"\xff" and data[at + 1] != 0xDA:
        if data[at + 1] == 0xFF:
            at += 1
            continue
        size = struct.unpack(">H", data[at + 2 : at + 4])[0]
        parts.append((data[at + 1], data[at + 4 : at + 2 + size]))
        at += 2 + size
    i = rng.randrange(len(parts))
    marker, content = parts[i]
    what = rng.randrange(5)
    if what == 0:
        del parts[i]
    elif what == 1:
        parts.insert(rng.randrange(len(parts)), parts[i])
    elif what == 2 and content:
        parts[i] = (marker, rng.choice((flip, flip, cut, insert))(content, rng)[:65000])
    elif what == 3:
        parts[i] = (rng.choice((marker, 0xE0, 0xE1, 0xEE, 0xFE, 0xC0, 0xC1, 0xC2)), content)
    fill = b"\xff" * rng.randrange(4) if what == 4 else b""
    return data[:2] + b"".join(fill + seeds.segment(marker, content) for marker, content in parts) + fill + data[at:]


def orientation(data, rng):
    """Another way to say how the picture is turned."""
    kind = rng.choice(list(seeds.SIZES))
    if kind in (1, 7):
        count = rng.choice((1, 1, 2, 5))
    else:
        count = rng.choice((0, 1, 1, 1, 2, 3)) if kind != 2 else 1
    tags = [(rng.choice((0x010F, 0x0112, 0x011A)), 3, 1, b"\1\0"), (0x0131, 2, 9, b"software\0")][: rng.randrange(3)]
    number_ = rng.choice((*range(0, 10), 100))
    tiff = seeds.exif(number_, kind, rng.choice("<>"), count, tags)
    prefix = rng.choice((b"", b"Exif\0\0"))
    xmp = rng.choice((seeds.XMP, '<tiff:Orientation>{}</tiff:Orientation>', "tiff:Orientation='{}'")).format(rng.randrange(10))
    if rng.randrange(6) == 0:
        tiff = rng.choice((flip, cut, number))(tiff, rng) or b"II"
    say_exif, say_xmp = rng.choice(((True, False), (True, True), (False, True)))
    if data[:1] == b"\x89":
        extra = [seeds.chunk(b"eXIf", prefix + tiff)] if say_exif else []
        extra += [seeds.chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp.encode())] if say_xmp else []
        return seeds.with_chunks(data, *extra, before=rng.choice((b"IDAT", b"IEND")))
    if data[:1] == b"\xff":
        extra = [seeds.segment(0xE1, b"Exif\0\0" + prefix + tiff)] if say_exif else []
        extra += [seeds.segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp.encode())] if say_xmp else []
        return seeds.with_segments(data, *extra)
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        options = ({"exif": prefix + tiff} if say_exif else {}) | ({"xmp": xmp} if say_xmp else {})
        return seeds.saved(image, "WEBP", lossless=True, **options)


def mutant(sound, number_, seed):
    rng = random.Random(f"{seed} {number_}")
    name = rng.choice(sorted(sound))
    data = sound[name]
    own = {"png": png_chunks, "jpg": jpeg_segments, "webp": webp_chunks}[name.rsplit(".")[1]]
    how = rng.choice((flip, flip, cut, lose, repeat, insert, number, append, own, own, orientation, orientation))
    try:
        return name, how.__name__, how(data, rng)
    except (IndexError, ValueError, struct.error, zlib.error):
        return name, "flip", flip(data, rng)


def by_pillow(data):
    """(mode, size, pixels), or the reason why there are none."""
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as image:
            mode = image.mode
            upright = ImageOps.exif_transpose(image).convert("RGB")
            return mode, upright.size, upright.tobytes()
    except Exception as e:
        text = re.sub(r"0x[0-9a-f]+|\d+|b'.*|b\".*", "N", str(e).split("\n")[0])
        return f"{type(e).__name__}: {text[:70]}"


class Reader:
    """image_verdicts, which stays."""

    def __init__(self, program):
        self.child = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def take(self, size):
        data = self.child.stdout.read(size)
        if len(data) < size:
            sys.exit(f"image_verdicts ended with {self.child.wait()}")
        return data

    def number(self):
        return struct.unpack("=L", self.take(4))[0]

    def ask(self, data):
        self.child.stdin.write(struct.pack("=L", len(data)) + data)
        self.child.stdin.flush()
        if self.take(1) == b"-":
            return re.sub(r"\d+", "N", self.take(self.number()).decode(errors="replace").removeprefix("picture: "))
        width, height = self.number(), self.number()
        warning = self.take(self.number()).decode(errors="replace")
        return warning, (width, height), self.take(3 * width * height)


def main():
    options = argparse.ArgumentParser()
    options.add_argument("program")
    options.add_argument("--mutants", type=int, default=50_000)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--keep", type=Path)
    options = options.parse_args()
    warnings.simplefilter("ignore")
    Image.MAX_IMAGE_PIXELS = 50_000_000  # refuses above twice that: the limit that nightreel has
    sound = seeds.seeds()
    reader = Reader(options.program)
    counts, classes, kept = collections.Counter(), collections.Counter(), set()

    def keep(kind, data):
        if options.keep and kind not in kept:
            options.keep.mkdir(parents=True, exist_ok=True)
            (options.keep / f"{len(kept)}.bin").write_bytes(data)
            print(f"{options.keep}/{len(kept)}.bin: {kind}")
            kept.add(kind)

    for name, data in sound.items():
        theirs, ours = by_pillow(data), reader.ask(data)
        assert not isinstance(theirs, str) and not isinstance(ours, str), (name, theirs, ours)
        assert ours[1:] == theirs[1:] or theirs[0] in GREY16, name
        assert not ours[0], (name, ours[0])
    for i in range(options.mutants):
        name, how, data = mutant(sound, i, options.seed)
        theirs, ours = by_pillow(data), reader.ask(data)
        if isinstance(theirs, str) and isinstance(ours, str):
            counts["both refuse"] += 1
        elif not isinstance(theirs, str) and not isinstance(ours, str):
            counts["both open"] += 1
            counts["of these with a warning"] += bool(ours[0])
            grey = theirs[0] in GREY16
            if ours[1] != theirs[1] or (ours[2] != theirs[2] and not grey):
                counts["pixels differ"] += 1
                keep(f"pixels of {name} {how}: {ours[0]}", data)
        else:
            counts["one opens"] += 1
            reasons = f"{theirs if isinstance(theirs, str) else 'opened'} | {ours if isinstance(ours, str) else 'opened'}"
            known = [reason for reason, pattern in KNOWN.items() if re.search(pattern, reasons)]
            classes[(known[0] if known else "NOT KNOWN", reasons)] += 1
            keep(f"{name} {how}: {reasons}", data)
    for what, count in counts.items():
        print(f"{count:8} {what}")
    for (reason, reasons), count in classes.most_common():
        print(f"{count:8} ({100 * count / options.mutants:.3f} %) {reason}: {reasons}")
    unknown = sum(count for (reason, _), count in classes.items() if reason == "NOT KNOWN")
    bad = counts["pixels differ"] or unknown or counts["one opens"] * 100 >= options.mutants
    print("FAILED" if bad else "good", f"of {options.mutants} mutants, seed {options.seed}")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
