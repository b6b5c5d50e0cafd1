"""Looks whether every public header includes what it names, itself or through what it includes, and is guarded.

Usage: check_includes.py [ROOT]   (the repository; default: two folders up)
Prints one line "FILE: reason" for each fault and exits 1 if there was any.

It reads text and compiles nothing: a name of the project is one that a header defines at the start of a line; names of
the standard library and of LibTorch stand in the tables below. What else a header might need is left to the compiler,
which sees all of them in one file, twice (CMakeLists.txt).
"""

import re
import sys
from pathlib import Path

# name in std -> the headers of which one must be there
STANDARD = {
    "array": "array", "atomic": "atomic", "condition_variable": "condition_variable", "deque": "deque",
    "exception": "exception", "exception_ptr": "exception", "current_exception": "exception",
    "rethrow_exception": "exception", "runtime_error": "stdexcept", "filesystem": "filesystem",
    "function": "functional", "future": "future", "initializer_list": "initializer_list", "list": "list",
    "lock_guard": "mutex", "unique_lock": "mutex", "mutex": "mutex", "map": "map", "make_shared": "memory",
    "make_unique": "memory", "shared_ptr": "memory", "unique_ptr": "memory", "weak_ptr": "memory",
    "numeric_limits": "limits", "optional": "optional", "nullopt": "optional", "pair": "utility map",
    "set": "set", "size_t": "cstddef string vector array string_view cstdint", "span": "span",
    "string": "string", "string_view": "string_view string", "thread": "thread", "tuple": "tuple",
    "uint8_t": "cstdint", "uint16_t": "cstdint", "uint32_t": "cstdint", "uint64_t": "cstdint",
    "int8_t": "cstdint", "int32_t": "cstdint", "int64_t": "cstdint", "variant": "variant", "vector": "vector",
    "chrono": "chrono", "unordered_map": "unordered_map", "ostream": "ostream iosfwd iostream sstream",
}  # fmt: skip
# namespace -> how the header that gives it begins
FOREIGN = {"at": ("ATen/", "c10/", "torch/"), "c10": ("ATen/", "c10/", "torch/"), "nlohmann": ("nlohmann/",)}

INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.M)
NOISE = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', re.S)
DEFINES = [
    re.compile(r"^(?:class|struct|enum class|enum)\s+(\w+)[^;{]*\{", re.M),
    re.compile(r"^using\s+(\w+)\s*=", re.M),
    re.compile(r"^(?:inline )?constexpr [\w:<>, ]+?[ &*](\w+)\s*[={[]", re.M),
    re.compile(r"^(?:template <[^>]*>\s*)?(?:\[\[\w+\]\] )?(?:inline |constexpr )*[A-Za-z][\w:<>, ]*?[ &*]+(\w+)\(", re.M),
]  # fmt: skip
FORWARD = re.compile(r"^(?:class|struct|enum class)\s+(\w+)(?:\s*:\s*[\w:]+)?;", re.M)
NESTED = re.compile(r"^ +(?:class|struct|enum class|using)\s+(\w+)", re.M)


class Header:
    """What a header includes, defines, declares ahead and names."""

    def __init__(self, path):
        text = path.read_text(encoding="utf-8")
        self.includes = INCLUDE.findall(text)
        self.guarded = "#pragma once" in text
        code = NOISE.sub(" ", re.sub(r"^\s*#.*$", "", text, flags=re.M))
        self.defines = {name for pattern in DEFINES for name in pattern.findall(code)}
        self.own = set(FORWARD.findall(code)) | set(NESTED.findall(code))
        self.standard = set(re.findall(r"\bstd::(\w+)", code))
        self.foreign = set(re.findall(r"(?<![:\w])(at|c10|nlohmann)::\w", code))
        self.qualified = set(re.findall(r"(?<![:\w])(?:nightreel::)?(\w+)::(\w+)", code))
        self.words = set(re.findall(r"(?<![:\w.>])([A-Z]\w*)\b", code))


def read_headers(root):
    """"nightreel/base/file.h" -> Header."""
    top = root / "include"
    return {path.relative_to(top).as_posix(): Header(path) for path in sorted(top.rglob("*.h"))}


def closure(name, headers):
    """All that including `name` includes, project headers and others."""
    seen, todo = set(), [name]
    while todo:
        current = todo.pop()
        if current in seen:
            continue
        seen.add(current)
        todo += headers[current].includes if current in headers else []
    return seen


def homes(headers):
    """(layer, name) -> the public headers that define it."""
    found = {}
    for path, header in headers.items():
        for name in header.defines:
            found.setdefault((path.split("/")[1], name), set()).add(path)
    return found


def faults_of(path, headers, defined):
    header, there = headers[path], closure(path, headers)
    if not header.guarded:
        yield "has no #pragma once"
    for name in sorted(header.standard & STANDARD.keys()):
        if not there & set(STANDARD[name].split()):
            yield f"names std::{name} without <{STANDARD[name].split()[0]}>"
    for space in sorted(header.foreign):
        if not any(other.startswith(FOREIGN[space]) for other in there):
            yield f"names {space}:: without a header of it"
    own = path.split("/")[1]
    named = header.qualified | {(own, word) for word in header.words}
    for layer, name in sorted(named):
        where = defined.get((layer, name))
        if where and not where & there and name not in header.own:
            yield f"names {layer}::{name} without {sorted(where)[0]}"


def check(root):
    """All faults under `root`, one line each."""
    headers = read_headers(root)
    defined = homes(headers)
    return [f"include/{path}: {fault}" for path in headers for fault in faults_of(path, headers, defined)]


def main():
    root = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent.parent
    faults = check(root)
    print("\n".join(faults) or f"{len(read_headers(root))} headers include what they name")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
