"""Sound pictures of every kind that is read, as bytes, for fuzz_images.py: {name: bytes}. The same in every run."""

import io
import struct
import zlib

import numpy
from PIL import Image, PngImagePlugin

WIDTH, HEIGHT = 29, 18
XMP = ('<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" '
       'tiff:Orientation="{}"/></x:xmpmeta>')
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}


def exif(orientation, kind=3, order="<", count=1, tags=()):
    """A TIFF header and one list of tags, the orientation of TIFF's type `kind`."""
    code = {1: "B", 3: "H", 4: "L", 6: "b", 7: "B", 8: "h", 9: "l", 11: "f", 12: "d", 13: "L", 16: "Q"}
    if kind == 2:
        value = str(orientation).encode() + b"\0"
        count = len(value)
    elif kind in (5, 10):
        value = struct.pack(order + ("2L" if kind == 5 else "2l"), orientation * 3, 3) * count
    else:
        value = struct.pack(f"{order}{count}{code[kind]}", *[orientation] * count)
    entries = [*tags, (0x0112, kind, count, value)]
    start = 8 + 2 + 12 * len(entries) + 4
    listed, outside = b"", b""
    for tag, its, number, data in entries:
        place = data.ljust(4, b"\0") if len(data) <= 4 else struct.pack(order + "L", start + len(outside))
        listed += struct.pack(order + "HHL", tag, its, number) + place
        outside += data if len(data) > 4 else b""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "L", 8)
    return head + struct.pack(order + "H", len(entries)) + listed + b"\0" * 4 + outside


def chunk(name, content):
    return struct.pack(">L", len(content)) + name + content + struct.pack(">L", zlib.crc32(name + content))


def with_chunks(png, *chunks, before=b"IDAT"):
    at = png.index(before) - 4
    return png[:at] + b"".join(chunks) + png[at:]


def segment(marker, content):
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(content) + 2) + content


def with_segments(jpeg, *segments):
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def riff_chunk(name, content):
    return name + struct.pack("<L", len(content)) + content + b"\0" * (len(content) % 2)


def interlaced(pixels, bits, colour):
    """`pixels`: [height, width, bytes a pixel], or for fewer bits a value each; with filters of every kind."""
    rows = b""
    for left, across, top, down in ((0, 8, 0, 8), (4, 8, 0, 8), (0, 4, 4, 8), (2, 4, 0, 4), (0, 2, 2, 4), (1, 2, 0, 2),
                                    (0, 1, 1, 2)):
        for y, row in enumerate(pixels[top::down, left::across]):
            if not row.size:
                continue
            if bits < 8:
                row = numpy.packbits(numpy.unpackbits(row.reshape(-1, 1).astype(numpy.uint8), axis=1)[:, 8 - bits:])
            rows += bytes([0 if y == 0 else (y % 2) * 2]) + row.tobytes()
    header = struct.pack(">LLBBBBB", pixels.shape[1], pixels.shape[0], bits, colour, 0, 0, 1)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def saved(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def pngs(photo, alpha, pixels):
    made = {mode: saved(photo.convert(mode), "PNG") for mode in ("RGB", "L", "1")}
    made |= {"RGBA": saved(alpha, "PNG"), "LA": saved(alpha.convert("LA"), "PNG")}
    made |= {f"palette_{n}": saved(photo.quantize(n), "PNG") for n in (2, 4, 16, 200)}
    made["palette_seen_through"] = saved(photo.quantize(30), "PNG", transparency=3)
    made["rgb_seen_through"] = saved(photo, "PNG", transparency=(3, 4, 5))
    made["grey16"] = saved(Image.fromarray((pixels[:, :, 0].astype(numpy.uint16) << 8) + 7), "PNG")
    deep = numpy.repeat(pixels, 2, axis=2)
    made["rgb48"] = bytes(interlaced(deep, 16, 2))
    made["interlaced"] = interlaced(pixels, 8, 2)
    made["interlaced_bits"] = interlaced(pixels[:, :, 0] % 4, 2, 0)
    made["many_chunks"] = b"".join(
        [made["RGB"][:33], *(chunk(b"IDAT", made["RGB"][at:at + 97]) for at in range(41, len(made["RGB"]) - 16, 97)),
         chunk(b"IEND", b"")]
    )
    frames = [photo, photo.transpose(Image.Transpose.ROTATE_180)]
    made["animated"] = saved(frames[0], "PNG", save_all=True, append_images=frames[1:], duration=50)
    made["animated_default"] = saved(frames[0], "PNG", save_all=True, append_images=frames, default_image=True)
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", XMP.format(8), zip=True)
    made["xmp"] = saved(photo, "PNG", pnginfo=text)
    raw = b"Exif\0\0" + exif(6)
    profile = f"\nexif\n{len(raw):8}\n{raw.hex()}\n".encode()
    made["profile"] = with_chunks(made["RGB"], chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(profile)))
    made["profile_plain"] = with_chunks(made["RGB"], chunk(b"tEXt", b"Raw profile type exif\0" + profile))
    made["exif"] = saved(photo, "PNG", exif=b"Exif\0\0" + exif(5, order=">"))
    made["exif_behind"] = with_chunks(made["RGB"], chunk(b"eXIf", exif(3)), before=b"IEND")
    made["profile_icc"] = saved(photo, "PNG", icc_profile=b"not a profile, but bytes" * 9, dpi=(72, 72))
    return {f"{name}.png": made[name] for name in made}


def jpegs(photo, alpha):
    made = {"rgb": saved(photo, "JPEG", quality=88), "grey": saved(photo.convert("L"), "JPEG"),
            "progressive": saved(photo, "JPEG", progressive=True, quality=70),
            "full": saved(photo, "JPEG", subsampling=0), "across": saved(photo, "JPEG", subsampling=1),
            "restarts": saved(photo, "JPEG", restart_marker_blocks=2),
            "cmyk": saved(photo.convert("CMYK"), "JPEG", quality=90),
            "dpi": saved(photo, "JPEG", dpi=(300, 300)),
            "comment": saved(photo, "JPEG", comment=b"words", icc_profile=b"bytes" * 40)}  # fmt: skip
    made["large"] = saved(photo.resize((160, 120)), "JPEG", quality=85)
    made["exif"] = with_segments(made["rgb"], segment(0xE1, b"Exif\0\0" + exif(6)))
    made["exif_dpi"] = with_segments(made["dpi"], segment(0xE1, b"Exif\0\0" + exif(8, order=">")))
    made["exif_twice"] = with_segments(made["rgb"], segment(0xE1, b"Exif\0\0" + exif(6)[:15]),
                                       segment(0xE1, b"Exif\0\0" + exif(6)[15:]))  # fmt: skip
    made["xmp"] = with_segments(made["rgb"], segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP.format(6).encode()))
    made["filled"] = made["exif"][:2] + b"\xff\xff\xff" + made["exif"][2:]
    made["multi"] = saved(photo, "MPO", save_all=True, append_images=[photo])
    return {f"{name}.jpg": made[name] for name in made}


def webps(photo, alpha):
    made = {"lossy": saved(photo, "WEBP", quality=80), "lossless": saved(photo, "WEBP", lossless=True),
            "lossy_alpha": saved(alpha, "WEBP", quality=70),
            "lossless_alpha": saved(alpha, "WEBP", lossless=True, exact=True),
            "animated": saved(photo, "WEBP", save_all=True, append_images=[photo.rotate(180)], duration=40),
            "exif": saved(photo, "WEBP", exif=b"Exif\0\0" + exif(6)), "exif_bare": saved(photo, "WEBP", exif=exif(7)),
            "xmp": saved(photo, "WEBP", xmp=XMP.format(5))}  # fmt: skip
    return {f"{name}.webp": made[name] for name in made}


def seeds():
    random = numpy.random.default_rng(7)
    coarse = Image.fromarray(random.integers(0, 256, (4, 5, 3), dtype=numpy.uint8))
    photo = coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    pixels = numpy.array(photo)
    alpha = photo.copy()
    alpha.putalpha(Image.fromarray(random.integers(0, 256, (HEIGHT, WIDTH), dtype=numpy.uint8)))
    return pngs(photo, alpha, pixels) | jpegs(photo, alpha) | webps(photo, alpha)
