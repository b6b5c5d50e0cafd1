"""What `nightreel --help` says, as data. CLI11 prints a fixed form: a section's lines are indented by two, a name that
fits has its description from column 30 on, one that does not has it on the next line."""
import dataclasses
import re
import subprocess

COLUMN = 30


@dataclasses.dataclass
class Entry:
    """An option or a positional: names as typed, what stands for its value, what it is for."""
    names: list
    value: str = ""
    choices: tuple = ()
    default: str = ""
    variable: str = ""
    required: bool = False
    several: bool = False
    text: str = ""


@dataclasses.dataclass
class Command:
    """`path` is what is typed behind the program's name: "", "run", "model info"."""
    path: str
    text: str
    positionals: list
    options: list
    subcommands: list  # of Command


def ask(program, path):
    return subprocess.run([program, *path.split(), "--help"], check=True, capture_output=True, encoding="utf-8").stdout


def sections(text):
    """Heading -> (name column, description) pairs; the text before "Usage:" stands under ""."""
    found, heading = {"": []}, ""
    lines = text.splitlines()
    for index, line in enumerate(lines):
        if re.fullmatch(r"\S.*:", line):
            heading = line[:-1]
            found[heading] = []
        elif not heading:
            found[""].append((line, ""))
        elif line.strip() and not line.startswith(" " * COLUMN):
            below = lines[index + 1] if index + 1 < len(lines) else ""
            if below.startswith(" " * COLUMN):
                found[heading].append((line.strip(), below.strip()))
            else:
                found[heading].append((line[:COLUMN].strip(), line[COLUMN:].strip()))
    return found


def entry(name, text):
    """`--device TEXT:{auto,cpu,cuda}=auto (Env:NIGHTREEL_DEVICE)`, `jobs TEXT ... REQUIRED`."""
    variable = re.search(r" \(Env:(\w+)\)", name)
    words = name[:variable.start()] if variable else name
    names, _, rest = words.partition(" ")
    value = re.match(r"([A-Z]+)(?::(\S*?))?(?:=(\S*))?(?= |$)", rest)
    kind, limits, default = value.groups() if value and value[1] != "REQUIRED" else ("", "", "")
    ranged = re.search(r"INT:INT in \[.*?\](?:=(\S+))?", rest)
    if ranged:
        kind, limits, default = "INT", "", ranged[1]
    choices = tuple(limits[1:-1].split(",")) if (limits or "").startswith("{") else ()
    return Entry(names.split(","), kind, choices, default or "", variable[1] if variable else "", "REQUIRED" in rest,
                 "..." in rest, text)


def read(program, path=""):
    """The command and everything under it."""
    parts = sections(ask(program, path))
    text = next((line for line, _ in parts[""] if line and not line.startswith("Usage:")), "")
    under = [name for heading, lines in parts.items()
             if heading == "Subcommands" or heading.startswith("With the model") for name, _ in lines]
    direct = {name: read(program, f"{path} {name}".strip()) for name in under if " " not in name}
    for name in (name for name in under if " " in name):  # `bench comm` stands beside `bench`
        direct[name.split()[0]].subcommands.append(read(program, name))
    return Command(path, text, [entry(*pair) for pair in parts.get("Positionals", [])],
                   [entry(*pair) for pair in parts.get("Options", [])], list(direct.values()))


def walk(command):
    yield command
    for each in command.subcommands:
        yield from walk(each)


def is_help(option):
    return "--help" in option.names


def does_something(command):
    """A group as `model` only names what is under it; `bench` has options of its own besides."""
    own = command.positionals or any(not is_help(option) for option in command.options)
    return bool(command.path) and bool(own or not command.subcommands)
