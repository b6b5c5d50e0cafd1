"""nightreel(1): the template's own words, and between them what --help says of every command."""
import pathlib

from help_text import does_something, is_help, walk

TEMPLATE = pathlib.Path(__file__).with_name("nightreel.1.in")


def escape(text):
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    escaped = "".join(letter if letter.isascii() else f"\\[u{ord(letter):04X}]" for letter in escaped)
    return "\\&" + escaped if escaped[:1] in (".", "'") else escaped


def value_of(entry):
    if not entry.value:
        return ""
    name = "|".join(entry.choices) or entry.value
    return f" \\fI{escape(name)}\\fR" + (" ..." if entry.several else "")


def option(entry):
    names = ", ".join(f"\\fB{escape(name)}\\fR" for name in entry.names)
    more = [f"default {escape(entry.default)}"] if entry.default else []
    more += ["required"] if entry.required else []
    more += [f"\\fB{entry.variable}\\fR"] if entry.variable else []
    return f".TP\n{names}{value_of(entry)}\n{escape(entry.text)}" + (f" ({', '.join(more)})" if more else "") + "\n"


def positional(entry):
    return f".TP\n\\fI{escape(entry.names[0])}\\fR{' ...' if entry.several else ''}\n{escape(entry.text)}\n"


def usage(command):
    words = [f"\\fBnightreel {escape(command.path)}\\fR"]
    for entry in command.positionals:
        name = f"\\fI{escape(entry.names[0])}\\fR{' ...' if entry.several else ''}"
        words.append(name if entry.required else f"[{name}]")
    words += [f"\\fB{escape(e.names[-1])}\\fR{value_of(e)}" for e in command.options if e.required]
    return " ".join([*words, "[\\fIoptions\\fR]"])


def section(command):
    lines = [f".SS nightreel {escape(command.path)}\n{escape(command.text)}\n"]
    lines += map(positional, command.positionals)
    return "".join(lines + [option(entry) for entry in command.options if not is_help(entry)])


def man_page(program, version, datadir, docdir):
    """`program` is the help_text.Command of the whole program."""
    ends = [command for command in walk(program)
            if command.path and (not command.subcommands or not all(map(is_help, command.options)))]
    common = ".SS For every command\n" + "".join(map(option, program.options))
    text = TEMPLATE.read_text(encoding="utf-8")
    for name, value in (("VERSION", escape(version)), ("DATADIR", escape(datadir)), ("DOCDIR", escape(docdir)),
                        ("SYNOPSIS", "\n.br\n".join(map(usage, ends))),
                        ("COMMANDS", (common + "".join(map(section, ends))).rstrip("\n"))):
        text = text.replace(f"@{name}@", value)
    return text
