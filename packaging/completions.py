"""Completions for bash, zsh and fish, of what --help says: subcommands, flags, the words that a flag takes, files."""
from help_text import walk

FOLDERS = {"--model", "--out", "--input-root", "folder"}


def is_folder(entry):
    return any(name in FOLDERS for name in entry.names)


# --- bash

BASH = """# bash completion for nightreel, made from its --help.
_nightreel() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} command='' word known
  local under="@UNDER@" flags="@FLAGS@"
  # The subcommand, of one word or of two.
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    for known in @COMMANDS@; do
      if [ "$known" = "${command:+${command}_}$word" ]; then command=$known; break; fi
    done
  done
  case $command in
@CASES@
  esac
  # `--name=value` comes as three words, because = parts them.
  if [ "$previous" = = ]; then previous=${COMP_WORDS[COMP_CWORD-2]}; fi
  if [ "$current" = = ]; then current=''; fi
  case $command,$previous in
@VALUES@
  esac
  case $current in
    -*) mapfile -t COMPREPLY < <(compgen -W "$flags" -- "$current") ;;
    *) mapfile -t COMPREPLY < <(compgen -W "$under" -- "$current"; [ -z "$command" ] || compgen -f -- "$current") ;;
  esac
}
complete -o filenames -F _nightreel nightreel
"""


def key(command):
    return command.path.replace(" ", "_")


def bash_action(entry):
    """What compgen is told for an option's value; empty: a number, for which there is nothing to offer."""
    if entry.choices:
        return f'-W "{" ".join(entry.choices)}"'
    return "" if entry.value in ("INT", "UINT", "FLOAT") else "-d" if is_folder(entry) else "-f"


def bash_values(program):
    patterns = {}
    for command in walk(program):
        for entry in command.options:
            if entry.value:
                patterns.setdefault(bash_action(entry), []).extend(f"{key(command) or '*'},{name}" for name in entry.names)
    for action, names in patterns.items():
        do = f'mapfile -t COMPREPLY < <(compgen {action} -- "$current"); return' if action else "return"
        yield f"    {' | '.join(names)}) {do} ;;"


def under(command):
    return " ".join(each.path.split()[-1] for each in command.subcommands)


def flags(command):
    return " ".join(name for entry in command.options for name in entry.names)


def bash(program):
    everywhere = " ".join(name for entry in program.options if entry.value for name in entry.names)
    cases = [f'    {key(c)}) under="{under(c)}" flags="{flags(c)} {everywhere}" ;;' for c in walk(program) if c.path]
    text = BASH
    for name, value in (("UNDER", under(program)), ("FLAGS", flags(program)), ("CASES", "\n".join(cases)),
                        ("COMMANDS", " ".join(key(c) for c in walk(program) if c.path)),
                        ("VALUES", "\n".join(bash_values(program)))):
        text = text.replace(f"@{name}@", value)
    return text


# --- zsh

def zsh_text(text):
    return text.replace("\\", "\\\\").replace("'", "'\\''").replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")


def zsh_value(entry):
    if not entry.value:
        return ""
    if entry.choices:
        return f":{entry.value.lower()}:({' '.join(entry.choices)})"
    return f":{entry.value.lower()}:_files" + (" -/" if is_folder(entry) else "")


def zsh_arguments(command):
    lines = [f"'{name}[{zsh_text(entry.text)}]{zsh_value(entry)}'" for entry in command.options for name in entry.names]
    return lines + [f"'{'*' if entry.several else ''}:{entry.names[0]}:_files{' -/' if is_folder(entry) else ''}'"
                    for entry in command.positionals]


def zsh_function(command):
    name = f"_nightreel_{command.path}".rstrip("_").replace(" ", "_")
    lines = zsh_arguments(command)
    if not command.subcommands:
        body = "_arguments " + " \\\n    ".join(lines)
        return f"{name}() {{\n  {body}\n}}\n"
    named = "\n".join(f"    '{each.path.split()[-1]}:{zsh_text(each.text)}'" for each in command.subcommands)
    body = " \\\n    ".join(["_arguments -C", *lines, "'1:command:->command'", "'*::argument:->argument'"])
    return (f"{name}() {{\n  local state line\n  local -a known=(\n{named}\n  )\n  {body}\n"
            f"  case $state in\n    command) _describe command known ;;\n"
            f"    argument) (( ! $+functions[{name}_$line[1]] )) || {name}_$line[1] ;;\n  esac\n}}\n")


def zsh(program):
    functions = "\n".join(zsh_function(command) for command in walk(program))
    return f"#compdef nightreel\n# zsh completion for nightreel, made from its --help.\n\n{functions}\n_nightreel \"$@\"\n"


# --- fish

def fish_text(text):
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def fish_option(entry, condition):
    words = ["complete -c nightreel", condition]
    words += [("-l " + name[2:]) if name.startswith("--") else ("-s " + name[1:]) for name in entry.names]
    if entry.choices:
        words.append(f"-x -a {fish_text(' '.join(entry.choices))}")
    elif is_folder(entry):
        words.append("-x -a '(__fish_complete_directories)'")
    elif entry.value:
        words.append("-r")
    return " ".join(word for word in [*words, f"-d {fish_text(entry.text)}"] if word)


def fish(program):
    lines = ["# fish completion for nightreel, made from its --help.", "complete -c nightreel -n __fish_use_subcommand -f"]
    for command in walk(program):
        last = command.path.split()[-1] if command.path else ""
        condition = f"-n '__fish_seen_subcommand_from {last}'" if last else ""
        for each in command.subcommands:
            where = f"'__fish_seen_subcommand_from {last}; and not __fish_seen_subcommand_from {under(command)}'" if last else \
                "__fish_use_subcommand"
            lines.append(f"complete -c nightreel -n {where} -f -a {each.path.split()[-1]} -d {fish_text(each.text)}")
        lines += [fish_option(entry, condition) for entry in command.options]
    return "\n".join(lines) + "\n"
