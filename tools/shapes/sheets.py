"""Puts the contact sheets of a run together as one picture, two columns, each under its prompt: what the READMEs show.

Usage: sheets.py OUT JOBS.jsonl PICTURE.jpg
"""

import argparse
import json
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT, TITLE = 516, 258, 22
FONTS = ("NotoSansCJK-Regular.ttc", "wqy-zenhei.ttc", "DejaVuSans.ttf")
"""The first that is installed; Pillow's own, which has no Chinese, where none is."""


def font():
    for name in FONTS:
        try:
            return ImageFont.truetype(name, 14)
        except OSError:
            continue
    return ImageFont.load_default(14)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("jobs", type=Path)
    parser.add_argument("picture", type=Path)
    args = parser.parse_args()
    jobs = [json.loads(line) for line in args.jobs.read_text(encoding="utf-8").splitlines()]
    rows = (len(jobs) + 1) // 2
    picture = Image.new("RGB", (2 * WIDTH, rows * (HEIGHT + TITLE)), "white")
    draw, letters = ImageDraw.Draw(picture), font()
    for at, job in enumerate(jobs):
        x, y = at % 2 * WIDTH, at // 2 * (HEIGHT + TITLE)
        sheet = Image.open(args.out / f"videos/{job['id']}.jpg").resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
        draw.text((x + 4, y + 2), job["prompt"], fill="black", font=letters)
        picture.paste(sheet, (x, y + TITLE))
    args.picture.parent.mkdir(parents=True, exist_ok=True)
    picture.save(args.picture, quality=85)


if __name__ == "__main__":
    main()
