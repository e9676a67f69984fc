"""``ff-proxy compare OLD NEW``: asks both, asks again where they differ, and shows unknown differences."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TextIO

import msgspec

from ff_proxy.commands.command_line import json_option, read_command
from ff_proxy.commands.compare.answers import Difference, compare
from ff_proxy.commands.compare.known import Title
from ff_proxy.commands.compare.questions import Question, Session, Subject, answered, questions
from ff_proxy.commands.output import Terminal, standard_error, write_json, write_text
from ff_proxy.commands.proxy_client import ProxyClient, bearer, open_transport, segment
from ff_proxy.config import value_types as kinds
from ff_proxy.config.declare import option, required
from ff_proxy.errors import ConfigError, ExitCode
from ff_proxy.model.environment import EnvironmentInfo
from ff_proxy.model.keys import SdkKey
from ff_proxy.model.target import Target
from ff_proxy.offline.directory import read_directory
from ff_proxy.runtime.event_loop import run_until_stopped
from ff_proxy.runtime.signals import Stop
from ff_proxy.upstream.transport import Transport
from ff_proxy.wire.saas_auth import auth_body

_AT_ONCE: Final = 8
_NOBODY: Final = Target("ff-proxy-compare")
_YELLOW: Final = 33
_GREY: Final = 90
_NAMES: Final = kinds.ValueType(
    "list", lambda text: tuple(filter(None, map(str.strip, text.split(",")))), ",".join
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareOptions:
    """The command's options."""

    api_keys: tuple[SdkKey, ...] = required(
        kinds.KEYS, "SDK keys, one for each environment to compare, with commas between"
    )
    targets: tuple[str, ...] = option(
        _NAMES, (), "Identifiers of targets to evaluate flags for, with commas between"
    )
    flags: tuple[str, ...] = option(
        _NAMES, (), "Flags to ask for one by one; all flags if not set, with evaluations of one target only"
    )
    config_dir: Path | None = option(
        kinds.PATH, None, "Offline directory to take targets and their attributes from"
    )
    send_targets: bool = option(
        kinds.BOOLEAN,
        False,
        "Authenticate with the targets first, as SDKs do: they are stored, and registered with Harness",
    )
    stream_seconds: float = option(kinds.seconds(0), 3.0, "Seconds to wait for the first byte of a stream")
    all: bool = option(kinds.BOOLEAN, False, "Show known differences too")
    json: bool = json_option()


class Report(msgspec.Struct, frozen=True):
    """How many answers were compared, and every difference."""

    compared: int
    differences: tuple[Difference, ...]

    @property
    def unknown(self) -> list[Difference]:
        """The unexpected ones."""
        return [one for one in self.differences if not one.known]


Progress = Callable[[int, int], None]
"""Called with the number of answers compared so far, and of all."""


def run(argv: Sequence[str], environ: Mapping[str, str], out: TextIO) -> ExitCode | None:
    """Run ``ff-proxy compare ARGV…``; ``None`` if help is requested.

    Raises ``ConfigError`` for an invalid command line, ``UpstreamError`` if a proxy
    does not answer.
    """
    command = read_command(argv, CompareOptions, words=2, environ=environ, variables=("api-keys",))
    if command is None:
        return None
    options, words = command
    try:
        old, new = map(kinds.URL.parse, words)
    except ValueError:
        example = "as in ff-proxy compare http://old:7000 http://new:7000"
        raise ConfigError(f"compare: name two proxies by address, {example}") from None
    return run_until_stopped(partial(_run, old, new, options, out), unfinished=ExitCode.CRASH)


async def _run(old: str, new: str, options: CompareOptions, out: TextIO, _: Stop) -> ExitCode:
    progress = standard_error()

    def tell(done: int, of: int) -> None:
        progress.progress(f"{done} of {of} answers compared")

    try:
        async with open_transport() as transport:
            report = await compare_proxies(old, new, options, transport, tell)
    finally:
        progress.clear()
    if options.json:
        write_json(
            out,
            {
                "same": not report.unknown,
                "compared": report.compared,
                "differences": report.unknown,
                "known": [one for one in report.differences if one.known],
            },
        )
    else:
        _write(report, options, Terminal(out), out)
    return ExitCode.CRASH if report.unknown else ExitCode.OK


def _write(report: Report, options: CompareOptions, terminal: Terminal, out: TextIO) -> None:
    for one in report.differences:
        line = f"{one.question}: {one.place}: old {one.old}, new {one.new}"
        if not one.known:
            write_text(out, terminal.colored(line, _YELLOW))
        elif options.all:
            write_text(out, terminal.colored(f"{line} (known: {one.known})", _GREY))
    known = Counter(one.known for one in report.differences if one.known)
    for title, count in sorted(known.items()):
        write_text(out, f"known, {count} times: {title}")
    write_text(out, f"{report.compared} answers compared, {len(report.unknown)} differences")


async def compare_proxies(
    old: str, new: str, options: CompareOptions, transport: Transport, progress: Progress
) -> Report:
    """Compare the environment of every key; raises ``UpstreamError`` if a proxy does not answer."""
    sides = ProxyClient(transport, old), ProxyClient(transport, new)
    found: list[Difference] = []
    entered: list[tuple[SdkKey, tuple[Session, Session], EnvironmentInfo]] = []
    for key in options.api_keys:
        tokens = [await side.authenticate(key) for side in sides]
        (was, old_info), (now, new_info) = tokens
        entered.append((key, (Session(sides[0], was), Session(sides[1], now)), new_info))
        found += _claims(old_info, new_info)
    asked: list[tuple[EnvironmentInfo, tuple[Session, Session], Question]] = []
    for key, sessions, info in entered:
        other = next((one.id for _, _, one in entered if one.id != info.id), "")
        subject = await _subject(key, info, sessions, options, other)
        first = not asked
        asked += [
            (info, sessions, question) for question in questions(subject, options.stream_seconds, first=first)
        ]
    slots = asyncio.Semaphore(_AT_ONCE)
    done = 0

    async def ask(
        info: EnvironmentInfo, sessions: tuple[Session, Session], question: Question
    ) -> list[Difference]:
        nonlocal done
        async with slots:
            answers = await _compared(info, sessions, question)
        done += 1
        progress(done, len(asked))
        return answers

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(ask(*one)) for one in asked]
    for task in tasks:
        found += task.result()
    return Report(len(asked) + len(entered), tuple(found))


async def _compared(
    info: EnvironmentInfo, sessions: tuple[Session, Session], question: Question
) -> list[Difference]:
    """Differences found twice in a row: a change may reach one proxy before the other."""
    name = f"{info.identifier or info.id}: {question.name}"
    found: list[Difference] = []
    for attempt in range(2):
        old, new = await asyncio.gather(*(question.ask(session) for session in sessions))
        again = compare(name, question.kind, old, new)
        found = again if not attempt else [one for one in again if one in found]
        if not found:
            break
    return found


def _claims(old: EnvironmentInfo, new: EnvironmentInfo) -> list[Difference]:
    """Differences between the claims of the tokens; an old proxy has fewer."""
    name = f"{new.identifier or new.id}: authentication"
    found = []
    for field in ("id", "identifier", "project_identifier", "account"):
        was, now = getattr(old, field), getattr(new, field)
        if was != now:
            title = "" if was else Title.CLAIMS
            found.append(Difference(name, f"claim {field}", was or "nothing", now or "nothing", title))
    return found


async def _subject(
    key: SdkKey,
    info: EnvironmentInfo,
    sessions: tuple[Session, Session],
    options: CompareOptions,
    other: str,
) -> Subject:
    """What to ask about: the flags and groups of either proxy, and the chosen targets."""
    targets = await asyncio.to_thread(_targets, info, options)
    if options.send_targets:
        for target in targets:
            for session in sessions:
                await session.client.post("/client/auth", auth_body(key, target))
    flags, groups = [
        list(
            dict.fromkeys(
                [name for session in sessions for name in await _listed(session, info, kind, field)]
            )
        )
        for kind, field in (("feature-configs", "feature"), ("target-segments", "identifier"))
    ]
    return Subject(
        key,
        info,
        options.flags or flags,
        groups,
        targets or [_NOBODY],
        options.flags or (flags if len(targets) <= 1 else ()),
        other,
    )


async def _listed(session: Session, info: EnvironmentInfo, kind: str, field: str) -> list[str]:
    path = f"/client/env/{segment(info.id)}/{kind}"
    answer = await answered(session.client.get(path, bearer(session.token)))
    entries = answer.document if isinstance(answer.document, list) else []
    return [str(entry[field]) for entry in entries if isinstance(entry, Mapping) and entry.get(field)]


def _targets(info: EnvironmentInfo, options: CompareOptions) -> list[Target]:
    """The targets of the command line, with attributes from the directory, or all of the directory."""
    known: dict[str, Target] = {}
    if options.config_dir is not None:
        for reading in read_directory(options.config_dir).readings:
            if reading.environment is not None and reading.environment.config.id == info.id:
                known = {target.identifier: target for target in reading.environment.targets}
    if options.targets:
        return [known.get(name, Target(name)) for name in options.targets]
    return list(known.values())
