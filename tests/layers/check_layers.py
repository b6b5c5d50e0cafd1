"""Compares every #include of the project with the table in layers.txt.

Usage: check_layers.py [ROOT]   (the repository; default: two folders up)
Prints one line "FILE:LINE: reason" for each violation, and one for each permission that nobody uses; exits 1 if there
was any.
"""

import fnmatch
import re
import sys
from pathlib import Path

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
SOURCES = {".h", ".hpp", ".cpp", ".cu", ".cuh", ".inc", ".in"}
# The C library's and the kernel's own; anything else in <> with a folder or a .h is third-party.
SYSTEM = re.compile(
    r"^(sys|netinet|arpa|linux)/\w+\.h$|"
    r"^(dlfcn|fcntl|ifaddrs|netdb|poll|pthread|pwd|sched|signal|spawn|termios|time|unistd|errno|dirent)\.h$"
)
LAYER_CALL = re.compile(r"nightreel_layer\(\s*(\w+)([^)]*)\)", re.S)
KEYWORDS = {"TORCH", "SOURCES", "USES", "LIBS"}


def read_table(path):
    """layers.txt as two dictionaries: layer -> layers it may include, header pattern -> places."""
    sections, current = {"layers": {}, "third-party": {}}, None
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        line = line.split("#", 1)[0].strip()
        if not line:
            continue
        if line.startswith("["):
            current = sections[line.strip("[]")]
            continue
        name, _, rest = line.partition(":")
        if name in current:
            raise SystemExit(f"{path}:{number}: {name} stands twice")
        current[name] = rest.split()
    return sections["layers"], sections["third-party"]


def find_cycle(layers):
    """The layers of a cycle in the table, or an empty list."""
    done = set()

    def visit(layer, path):
        if layer in path:
            return path[path.index(layer):] + [layer]
        if layer in done:
            return []
        for other in layers.get(layer, []):
            cycle = visit(other, path + [layer])
            if cycle:
                return cycle
        done.add(layer)
        return []

    return next((cycle for layer in layers for cycle in [visit(layer, [])] if cycle), [])


def layer_of(parts, layers):
    """The layer of a path within src/ or include/nightreel/: "app/nightreel" has two parts, the others one."""
    for count in (2, 1):
        if len(parts) > count and "/".join(parts[:count]) in layers:
            return "/".join(parts[:count])
    return None


def source_files(root):
    """Each source file of the tree with its path within src/ or include/nightreel/."""
    for top in (root / "include" / "nightreel", root / "src"):
        for path in sorted(top.rglob("*")):
            if path.is_file() and path.suffix in SOURCES:
                yield path, path.relative_to(top).parts


def third_party_fault(header, place, layer, third_party):
    """Why the file at `place` may not include `header`, or None."""
    patterns = [pattern for pattern in third_party if fnmatch.fnmatch(header, pattern)]
    if not patterns:
        return f"<{header}> is in no line of layers.txt"
    places = [p for pattern in patterns for p in third_party[pattern]]
    if "*" in places or layer in places or place in places:
        return None
    return f"<{header}> belongs to {', '.join(places)}"


def include_fault(bracket, target, place, layer, layers, third_party):
    """Why `#include target` in the file at `place` breaks the rules, or None."""
    parts = tuple(target.split("/"))
    own = parts[1:] if parts[0] == "nightreel" else parts
    other = layer_of(own, layers)
    if parts[0] == "nightreel" or (bracket == '"' and other):
        if other is None:
            return f"{target} is of no layer in layers.txt"
        if other not in (layer, "base", *layers[layer]):
            return f"{layer} may not include {other} ({target})"
        if parts[0] != "nightreel" and other != layer and other != "app/common":
            return f"{target} is private to {other}"
        return None
    if bracket == '"':
        return f'"{target}": write it as "{layer}/…" or "nightreel/{layer}/…"'
    if ("/" not in target and "." not in target) or SYSTEM.match(target):
        return None
    return third_party_fault(target, place, layer, third_party)


def check_includes(root, layers, third_party):
    for path, parts in source_files(root):
        place = path.relative_to(root).as_posix()
        layer = layer_of(parts, layers)
        if layer is None:
            yield f"{place}: lies in no layer of layers.txt"
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            found = INCLUDE.match(line)
            fault = found and include_fault(found[1], found[2], place, layer, layers, third_party)
            if fault:
                yield f"{place}:{number}: {fault}"


def links(root):
    """(file, layer, linked layer) of all libraries, as their CMakeLists.txt name them."""
    for path in sorted((root / "src").glob("*/CMakeLists.txt")):
        for name, body in LAYER_CALL.findall(path.read_text(encoding="utf-8")):
            keyword = None
            for word in body.split():
                if word in KEYWORDS:
                    keyword = word
                elif keyword == "USES":
                    yield path.relative_to(root).as_posix(), name, word


def check_cmake(root, layers):
    """A library links the layers that its CMakeLists.txt names: those must be in the table too."""
    for place, name, word in links(root):
        if word not in ("base", *layers.get(name, [])):
            yield f"{place}: {name} may not use {word}"


def includes(root):
    """(path in the tree, its parts within src/ or include/nightreel/, what it includes) of all #includes."""
    for path, parts in source_files(root):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            found = INCLUDE.match(line)
            if found:
                yield path.relative_to(root).as_posix(), parts, found[2]


def unused(root, table):
    """What layers.txt permits, or a library links, and nobody includes; one line each."""
    layers, third_party = read_table(table)
    arrows, headers = set(), set()
    for place, parts, target in includes(root):
        layer, own = layer_of(parts, layers), target.removeprefix("nightreel/").split("/")
        arrows.add((layer, layer_of(tuple(own), layers)))
        headers |= {(pattern, user) for pattern in third_party if fnmatch.fnmatch(target, pattern) for user in (place, layer)}
    for layer, others in layers.items():
        yield from (f"{table.name}: {layer} may include {other}, and does not" for other in others if (layer, other) not in arrows)
    for pattern, places in third_party.items():
        yield from (f"{table.name}: {user} may include <{pattern}>, and does not"
                    for user in places if user != "*" and (pattern, user) not in headers)  # fmt: skip
    for place, layer, other in links(root):
        if (layer, other) not in arrows:
            yield f"{place}: {layer} uses {other}, and includes nothing of it"


def check(root, table):
    """All violations under `root`, one line each."""
    layers, third_party = read_table(table)
    cycle = find_cycle(layers)
    if cycle:
        return [f"{table}: a cycle: {' → '.join(cycle)}"]
    unknown = [f"{table}: {layer} may include {other}, which is no layer"
               for layer, others in layers.items() for other in others if other not in layers]  # fmt: skip
    return unknown + list(check_includes(root, layers, third_party)) + list(check_cmake(root, layers))


def main():
    here = Path(__file__).resolve().parent
    root = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else here.parent.parent
    faults = check(root, here / "layers.txt") or list(unused(root, here / "layers.txt"))
    print("\n".join(faults) or f"{sum(1 for _ in source_files(root))} files keep to the layers")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
