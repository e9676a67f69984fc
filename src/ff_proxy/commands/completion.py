"""``ff-proxy completion SHELL``: a script that completes commands, flags and their values."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TextIO

from ff_proxy.commands.command_line import NoOptions, read_command
from ff_proxy.commands.registry import COMMANDS
from ff_proxy.config.declare import Option
from ff_proxy.config.records import ALL
from ff_proxy.errors import ConfigError, ExitCode

_HELP: Final = "help"
_WORD: Final = re.compile(r"[A-Za-z0-9_.-]+")
_PATHS: Final = frozenset({"path"})


def run(argv: Sequence[str], _: Mapping[str, str], out: TextIO) -> ExitCode | None:
    """Write the script; ``None`` if help is requested.

    Raises ``ConfigError`` for an unknown shell.
    """
    command = read_command(argv, NoOptions, words=1)
    if command is None:
        return None
    shell = command[1][0] if command[1] else ""
    write = _SHELLS.get(shell)
    if write is None:
        named = f"{shell!r}: no shell that is known" if shell else "for which shell"
        raise ConfigError(f"completion: {named}; ff-proxy completion bash, zsh or fish")
    out.writelines(f"{line}\n" for line in write())
    return ExitCode.OK


def _entries() -> Iterator[tuple[str, tuple[Option[Any], ...], tuple[str, ...]]]:
    """Every command (empty: the proxy itself) with its options and possible arguments."""
    yield "", ALL, (*(name for name in COMMANDS if " " not in name), _HELP)
    for name, command in COMMANDS.items():
        below = tuple(other.split()[1] for other in COMMANDS if other.startswith(f"{name} "))
        yield name, command.options(), (*command.choices, *below)
    yield _HELP, (), tuple(name for name in COMMANDS if " " not in name)


def _values(option: Option[Any]) -> tuple[str, ...]:
    """The possible values of the option, if they are a fixed few."""
    if option.kind.standalone:
        return ()
    words = option.kind.name.split("|")
    return tuple(words) if len(words) > 1 and all(map(_WORD.fullmatch, words)) else ()


def _bash() -> Iterator[str]:
    every = {option.flag: option for _, options, _ in _entries() for option in options}
    yield "# bash completion for ff-proxy"
    yield "_ff_proxy() {"
    yield "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} at=${COMP_WORDS[1]}"
    yield "    local words flags"
    yield "    # -name=value comes as three words."
    yield '    [[ $prev == "=" ]] && prev=${COMP_WORDS[COMP_CWORD-2]}'
    yield '    [[ $cur == "=" ]] && cur=""'
    yield "    case $prev in"
    for option in every.values():
        if values := _values(option):
            listed = " ".join(values)
            yield f'        {_dashed(option)}) COMPREPLY=($(compgen -W "{listed}" -- "$cur")); return ;;'
    paths = [_dashed(option) for option in every.values() if option.kind.name in _PATHS]
    yield f'        {"|".join(paths)}) COMPREPLY=($(compgen -f -- "$cur")); return ;;'
    other = [
        _dashed(option)
        for option in every.values()
        if not option.kind.standalone and not _values(option) and option.kind.name not in _PATHS
    ]
    yield f"        {'|'.join(other)}) return ;;"
    yield "    esac"
    yield '    [[ $COMP_CWORD -gt 2 ]] && at="$at ${COMP_WORDS[2]}"'
    yield "    case $at in"
    named = [entry for entry in _entries() if entry[0]]
    for name, options, words in sorted(named, key=lambda entry: -entry[0].count(" ")):
        pattern = f'"{name}"*' if " " in name else f'"{name}"|"{name} "*'
        yield f"        {pattern}) {_bash_lists(options, words)} ;;"
    _, options, words = next(_entries())
    yield f"        *) {_bash_lists(options, words)} ;;"
    yield "    esac"
    yield '    if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W "$flags" -- "$cur"))'
    yield '    elif [[ -n $words ]]; then COMPREPLY=($(compgen -W "$words" -- "$cur"))'
    yield '    else COMPREPLY=($(compgen -f -- "$cur")); fi'
    yield "}"
    yield "complete -o filenames -F _ff_proxy ff-proxy"


def _dashed(option: Option[Any]) -> str:
    return f"-{option.flag}|--{option.flag}"


def _bash_lists(options: Iterable[Option[Any]], words: Iterable[str]) -> str:
    flags = " ".join([*(f"-{option.flag}" for option in options), "-help"])
    return f'words="{" ".join(words)}" flags="{flags}"'


def _zsh() -> Iterator[str]:
    yield "#compdef ff-proxy"
    yield "# zsh completion for ff-proxy"
    yield "_ff_proxy() {"
    yield "    local -a commands"
    yield "    commands=("
    for name, command in COMMANDS.items():
        if " " not in name:
            yield f"        {_quoted(f'{name}:{command.summary}')}"
    yield f"        {_quoted(f'{_HELP}:how a command is called')}"
    yield "    )"
    yield '    local at="$words[2]"'
    for name in COMMANDS:
        if " " in name:
            yield f'    [[ "$words[2] $words[3]" == "{name}" && CURRENT -gt 3 ]] && at="{name}"'
    yield "    case $at in"
    for name, options, words in _entries():
        if name:
            yield f"        {_quoted(name)})"
            shift = name.count(" ") + 1
            yield f"            words=(ff-proxy ${{words[{shift + 2},-1]}}); (( CURRENT -= {shift} ))"
            yield from _zsh_arguments(options, words)
            yield "            ;;"
    yield "        *)"
    yield '            [[ $CURRENT == 2 && "$words[2]" != -* ]] && { _describe command commands; return }'
    yield from _zsh_arguments(ALL, ())
    yield "            ;;"
    yield "    esac"
    yield "}"
    yield '[[ $funcstack[1] == _ff_proxy ]] && _ff_proxy "$@" || compdef _ff_proxy ff-proxy'


def _zsh_arguments(options: Iterable[Option[Any]], words: Sequence[str]) -> Iterator[str]:
    yield "            _arguments \\"
    for option in options:
        meaning = re.sub(r"([\[\]:\\])", r"\\\1", option.meaning)
        value = ""
        if not option.kind.standalone:
            what = "_files" if option.kind.name in _PATHS else f"({' '.join(_values(option))})"
            value = f":{option.flag}:{what if what != '()' else ' '}"
        yield f"                {_quoted(f'*-{option.flag}[{meaning}]{value}')} \\"
    rest = f"({' '.join(words)})" if words else "_files"
    yield f"                {_quoted(f'*:word:{rest}')}"


def _fish() -> Iterator[str]:
    yield "# fish completion for ff-proxy"
    yield "complete -c ff-proxy -f"
    for name, options, words in _entries():
        here = _fish_condition(name)
        for word in words:
            command = COMMANDS.get(f"{name} {word}".strip())
            about = f" -d {_fish_quoted(command.summary)}" if command is not None and name != _HELP else ""
            yield f"complete -c ff-proxy -n '{here}' -a {word}{about}"
        for option in options:
            takes = "" if option.kind.standalone else " -x"
            if values := _values(option):
                takes += f" -a {_fish_quoted(' '.join(values))}"
            elif option.kind.name in _PATHS:
                takes = " -r -F"
            about = _fish_quoted(option.meaning)
            yield f"complete -c ff-proxy -n '{here}' -o {option.flag}{takes} -d {about}"
        if name and COMMANDS.get(name) is not None and COMMANDS[name].words and not words:
            yield f"complete -c ff-proxy -n '{here}' -F"


def _fish_condition(name: str) -> str:
    first, _, second = name.partition(" ")
    if not first:
        others = " ".join([*(other for other in COMMANDS if " " not in other), _HELP])
        return f"not __fish_seen_subcommand_from {others}"
    below = [other.split()[1] for other in COMMANDS if other.startswith(f"{name} ")]
    here = f"__fish_seen_subcommand_from {first}"
    if second:
        return f"{here}; and __fish_seen_subcommand_from {second}"
    return f"{here}; and not __fish_seen_subcommand_from {' '.join(below)}" if below else here


def _quoted(text: str) -> str:
    """``text`` in quotes of bash and zsh."""
    return "'" + text.replace("'", "'\\''") + "'"


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


_SHELLS: Final[Mapping[str, Callable[[], Iterator[str]]]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
