"""Real text of many scripts from installed packages, and the damage that prompts suffer.

Debian: iso-codes, dpkg, apt (their translations), base-files (licences), locales (definitions).
PyPI: the read-me files and sources of ftfy, rich, wcwidth, sentencepiece, transformers, diffusers, huggingface_hub.
"""

import gettext
import random
import re
import sysconfig
from pathlib import Path

import ftfy.bad_codecs

assert ftfy.bad_codecs.ok() is None  # registers the sloppy codecs

SITE = Path(sysconfig.get_paths()["purelib"])
CATALOGUES = ("dpkg", "apt", "iso_3166-1", "iso_639-3", "iso_4217")
PER_CATALOGUE = 20
WELL_COVERED = ("zh", "ja", "ko", "ar", "fa", "th", "hi")  # scripts that few translations use
DISTRIBUTIONS = ("ftfy", "rich", "wcwidth", "sentencepiece", "transformers", "diffusers", "huggingface_hub", "regex")
SOURCES = ("ftfy/*.py", "ftfy/bad_codecs/*.py", "rich/_emoji_codes.py", "wcwidth/table_wide.py")

SCRIPTS = {
    "Chinese": r"[\u4e00-\u9fff]{2}",
    "Arabic": r"[\u0600-\u06ff]{2}",
    "Thai": r"[\u0e00-\u0e7f]{2}",
    "accents": r"[\u00c0-\u017f]",
    "Cyrillic": r"[\u0400-\u04ff]{2}",
    "Devanagari": r"[\u0900-\u097f]{2}",
    "emoji": r"[\U0001f300-\U0001faff]",
}


def messages(path):
    with open(path, "rb") as file:
        catalogue = gettext.GNUTranslations(file)
    return [text for key, text in catalogue._catalog.items() if key and isinstance(text, str) and text.strip()]


def translated(rng):
    for path in sorted(Path("/usr/share/locale").glob("*/LC_MESSAGES/*.mo")):
        if path.stem in CATALOGUES and not path.is_symlink():
            texts = sorted(set(messages(path)))
            count = PER_CATALOGUE * (3 if path.parts[4][:2] in WELL_COVERED else 1)
            yield from rng.sample(texts, min(count, len(texts)))


def documents():
    for name in DISTRIBUTIONS:
        yield from SITE.glob(f"{name}-*.dist-info/METADATA")
    for pattern in SOURCES:
        yield from sorted(SITE.glob(pattern))
    yield from sorted(Path("/usr/share/common-licenses").glob("*"))
    yield from sorted(Path("/usr/share/i18n/locales").glob("[a-z][a-z]_*"))[::12]


def real_lines():
    """Distinct lines, longest scripts first to come; the same on every machine that has the same packages."""
    rng = random.Random(1)
    lines = [line for text in translated(rng) for line in text.splitlines()]
    for path in documents():
        found = path.read_text(encoding="utf-8", errors="ignore").splitlines()
        lines += rng.sample(found, min(len(found), 150))
    # Sources spell many characters as escapes.
    lines = [re.sub(r"<U([0-9A-F]{4})>", lambda m: chr(int(m[1], 16)), line) for line in lines]
    lines = [line for line in dict.fromkeys(lines) if line.strip() and not re.search("[\ud800-\udfff]", line)]
    counts = {name: sum(bool(re.search(pattern, line)) for line in lines) for name, pattern in SCRIPTS.items()}
    if len(lines) < 2000 or min(counts.values()) < 50:
        raise SystemExit(f"only {len(lines)} lines of real text ({counts}): run scripts/setup")
    return lines, counts


def mojibake(line, encoding, times=1):
    """`line` as UTF-8, taken for another encoding; empty where that is not possible."""
    try:
        for _ in range(times):
            line = line.encode("utf-8").decode(encoding)
        return line
    except UnicodeError:
        return ""


WINDOWS = tuple(f"sloppy-windows-{page}" for page in (1250, 1251, 1252, 1253, 1254, 1257))
ENCODINGS = ("latin-1", "cp1252", *WINDOWS, "iso-8859-2", "macroman", "cp437")


def cesu8(line):
    """Characters beyond the basic plane as surrogate pairs of three bytes each, taken for Windows-1252."""
    utf16 = line.encode("utf-16-le")
    units = [int.from_bytes(utf16[i : i + 2], "little") for i in range(0, len(utf16), 2)]
    data = b"".join(chr(unit).encode("utf-8", "surrogatepass") for unit in units)
    return data.replace(b"\0", b"\xc0\x80").decode("sloppy-windows-1252")


def full_width(line):
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in line)


def entities(line):
    return "".join(f"&#{ord(c)};" if i % 3 == 0 else f"&#x{ord(c):x};" if i % 7 == 0 else c for i, c in enumerate(line))


CONTROLS = ("", "\0", "\x08", "\x85", "\ufeff", "\ufffc", "\u206a", "\r\n", "\u2028")


def damaged(line, rng):
    """One line in each of several kinds of damage; which ones is drawn by `rng`."""
    codec = rng.choice(ENCODINGS)
    kinds = [
        lambda: mojibake(line, codec),
        lambda: mojibake(line, "sloppy-windows-1252"),
        lambda: mojibake(line, codec, 2),
        lambda: mojibake(line, "sloppy-windows-1252", 2).replace("\xa0", " "),
        lambda: mojibake(line, "latin-1").replace("\xa0", " "),
        lambda: line[: len(line) // 2] + mojibake(line[len(line) // 2 :], codec),
        lambda: re.sub("[\x81\x8d\x8f\x90\x9d]", "\ufffd", mojibake(line, "sloppy-windows-1252")),
        lambda: mojibake(line, "sloppy-windows-1252").replace("\x9d", "?").replace("\x81", "?"),
        lambda: cesu8(line + "\U0001f60d\0"),
        lambda: line.replace("&", "&amp;").replace("<", "&lt;").replace("e", "&eacute").replace("a", "&AGRAVE;"),
        lambda: entities(line),
        lambda: entities(line).replace("&", "&amp;"),
        lambda: "\x1b[31;1m" + line + "\x1b[0m\x1b[\u0663m\x1b[;",
        lambda: full_width(line),
        lambda: line.replace("fi", "ﬁ").replace("ff", "ﬀ").replace("st", "ﬆ").replace("i", "ĳ"),
        lambda: "\u201c" + line.replace(" ", "\u2019 \u02bc") + "\u201d\u201f",
        lambda: "".join(rng.choice(CONTROLS) + c for c in line),
        lambda: "".join(c + rng.choice(("", "", "\u0301", "\u0323\u0300", "\u200d")) for c in line),
        lambda: line.encode("utf-8")[: rng.randrange(1, 9)].decode("latin-1") + rng.choice(("\n", "", " ")),
        lambda: "".join(rng.sample(line, len(line))),
        lambda: line + "<b>" + entities(line) + "\n" + mojibake(line, "cp1252") + "\n&eacute;",
    ]  # fmt: skip
    return [made for kind in rng.sample(kinds, 5) if (made := kind())]


def suspicious_lines(rng, count=6000):
    """Random strings of the very characters that the badness heuristic and the UTF-8 detector look for."""
    letters = "".join(bytes(range(0x80, 0x100)).decode(codec) for codec in ENCODINGS if codec != "cp1252")
    letters += " aZ.\n?\x1a\ufffd" * 12
    return ["".join(rng.choices(letters, k=rng.randrange(1, 14))) for _ in range(count)]


def edge_lines():
    """Borders of the rules: single entities, references, byte tricks and white space."""
    numbers = (0, 1, 9, 11, 13, 31, 38, 59, 60, 127, 128, 129, 150, 159, 160, 0xD800, 0xFDD0, 0xFFFE, 0x10FFFF)
    numbers += (0x110000, 10**30)
    return [f"a&#{n};b &#x{n:X}c &#{n}x; &#x{n:x}zz;" for n in numbers] + [
        *("&amp;amp;amp;lt;b", "&notit; &not &notin; &amp &ampx; &&amp;;", "&" + "x" * 40 + ";", "&lt;&#59;&#x3b;"),
        *("&NTILDE;&ntilde;&nTILDE; P&EACUTE;REZ &SZLIG; &HELLIP;", "&#;&#x;&;& &x; &#xg;", "&a", "&ng", "&LT"),
        *("&\t&#\n", "Ã la mode Ã s Ã quele Ã  l", "voilÃ le travail", "Ã", "Â ", "a Â b", "sÃ³", "Ã\xa0", "Ã³\n\nÃ³"),
        *("âœ” No problems", "\xed\xa0\xbd\xed\xb8\n", "\xc0\n", "Ã©\xc0\n", "\xed\xa0\xbd\xed\xb8\x8d Ã©"),
        *("\xc0\x80\xc3\xa9", "\xed\xa0\xbd Ã©", "\xed\xb8", "", " ", "\n", "\x1b[", "\x1b[m\x1b[1;2;3Hx\x1b[1"),
        *("\x1c\x1d a \x1f\x85b\u2003\u3000c\xa0 ", "â€œ like this â€\ufffd", "a\u0323\u0307\u0301\u0327" * 9),
        *("\u1100\u1161\u11a8", "\ufb01\ufb05\uff76\uff9e", "ГўВЂВ™s", "β€™ ā€ вЂ√± ‚Äì", "œ! à² ×²"),
    ]
