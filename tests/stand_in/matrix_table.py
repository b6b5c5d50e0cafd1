"""matrix.json as the table of docs/gpu.md: prints it, or with --check holds that page against it.

    python matrix_table.py [--check docs/gpu.md]
"""
import json
import pathlib
import sys

CELLS = json.loads((pathlib.Path(__file__).parent / "matrix.json").read_text())["cells"]
CARDS = ("24 GB", "32 GB", "45 GB", "48 GB", "80 GB", "141 GB")
NAMES = {"a14b": "T2V-A14B", "i2v-a14b": "I2V-A14B", "ti2v-5b": "TI2V-5B", "wan21-1.3b": "2.1 T2V-1.3B"}
SIZES = {"480p": "480×832×81", "720p": "720×1280×81", "704p": "704×1280×121"}
SHORT = (("experts take_turns", "turns"), ("experts leave", "leave"), ("tiles out", "tiles"))


def words_of(cell):
    if cell is None:
        return ""
    if cell["plan"] == "refused":
        return "refused"
    how = [short for long, short in SHORT if long in cell["plan"]]
    return f"{cell['planned']:.1f} / {cell['reserved']:.1f}" + (f" {', '.join(how)}" if how else "")


def table():
    lines = ["| model, size | dtype | " + " | ".join(CARDS) + " |", "| --- | --- |" + " --- |" * len(CARDS)]
    for name in sorted(CELLS, key=lambda name: (list(NAMES).index(name.split()[0]), name)):
        model, size, dtype = name.split()
        cells = [words_of(CELLS[name].get(card)) for card in CARDS]
        lines.append(f"| {NAMES[model]} {SIZES[size]} | {dtype} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main():
    if sys.argv[1:2] != ["--check"]:
        print(table())
    elif table() not in pathlib.Path(sys.argv[2]).read_text():
        print(f"{sys.argv[2]} has another table than matrix.json:\n{table()}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
