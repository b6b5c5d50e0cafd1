"""layers.txt as the picture of docs/architecture.md: prints it, or with --check holds that page against it.

    python picture.py [--check docs/architecture.md]

An arrow that a longer way says already is left out, and so is `base`, which all stand on.
"""
import pathlib
import sys

from check_layers import read_table

LAYERS = {layer: [other for other in others if other != "base"]
          for layer, others in read_table(pathlib.Path(__file__).parent / "layers.txt")[0].items() if layer != "base"}
GROUPS = {"ranks": ("queue", "cluster", "report", "rank", "doctor"),
          "renderer": ("comm", "ops", "text", "weights", "model", "sample", "pipeline", "bench", "render")}


def below(layer):
    """All layers that a way leads to."""
    return {end for other in LAYERS[layer] for end in {other, *below(other)}}


def arrows():
    for layer, others in LAYERS.items():
        for other in others:
            if not any(other in below(between) for between in others):
                yield layer, other


def name(layer):
    return layer.replace("/", "_")


def picture():
    lines = ["```mermaid", "flowchart BT"]
    for group, layers in GROUPS.items():
        lines += [f"  subgraph {group}", *(f"    {name(layer)}" for layer in layers), "  end"]
    lines += [f"  {name(layer)}[{layer}]" for layer in LAYERS if "/" in layer]
    lines += [f"  {name(other)} --> {name(layer)}" for layer, other in arrows()]
    return "\n".join([*lines, "```"])


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "--check":
        if picture() in pathlib.Path(sys.argv[2]).read_text(encoding="utf-8"):
            sys.exit(0)
        print(f"{sys.argv[2]} has another picture than layers.txt:")
        print(picture())
        sys.exit(1)
    print(picture())
