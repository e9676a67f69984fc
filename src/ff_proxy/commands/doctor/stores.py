"""Checks of Redis, the data directory and the offline directory."""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import Final

from ff_proxy.aio.daemon_thread import in_daemon_thread
from ff_proxy.app.process import command_context
from ff_proxy.commands.doctor.findings import Reporter
from ff_proxy.config.records import RedisStoreOptions
from ff_proxy.errors import OfflineDataError, StoreMisconfigured, StoreUnavailable
from ff_proxy.model.keys import Secret
from ff_proxy.model.member import fingerprint
from ff_proxy.offline.directory import read_directory
from ff_proxy.offline.problems import Severity
from ff_proxy.posix import hold_lock
from ff_proxy.store.sqlite.database import database_file, lock_file
from ff_proxy.store.sqlite.reading import check_stored

_OLDEST: Final = (6, 2)
_SLOTS: Final = 16384
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_LITTLE_BYTES: Final = 64 * 1024 * 1024
_NO_BYTES: Final = 4 * 1024 * 1024


async def check_redis(options: RedisStoreOptions, secret: Secret | None, report: Reporter) -> None:
    """Connection, version, role, memory policy, rights, and the state of a Cluster or of Sentinels."""
    # Importing the client takes time: only for users of Redis.
    from ff_proxy.app.redis_store import redis_endpoint  # noqa: PLC0415  (see above)
    from ff_proxy.store.redis.inspection import inspect_redis  # noqa: PLC0415  (see above)

    place = str(options.address)
    try:
        facts = await inspect_redis(
            redis_endpoint(options, command_context()), options.prefix, f"doctor-{token_hex(16)}"
        )
    except StoreMisconfigured as error:
        report.problem(f"{place}: {error}", "")  # it says what to do
        return
    except StoreUnavailable as error:
        # An answer of Redis comes with advice.
        report.problem(f"{place}: {error}", "" if str(error).endswith(")") else _reach_advice(options))
        return
    version = facts.version or "unknown (no right to INFO)"
    report.ok(f"{place} answers in {facts.milliseconds:.0f} ms, version {version}")
    numbers = tuple(int(part) for part in facts.version.split(".")[:2] if part.isdigit())
    if numbers and numbers < _OLDEST:
        report.problem(f"version {facts.version} is too old", "use Redis 6.2 or newer, or Valkey")
    if facts.role == "slave":
        report.problem(
            "this is a replica: it takes no writes",
            "name the primary in redis-address, or the Sentinels that know it",
        )
    if facts.maxmemory and facts.policy not in {"", "noeviction"}:
        report.warning(
            f"maxmemory-policy is {facts.policy}: a full Redis throws flags and usage away",
            "CONFIG SET maxmemory-policy noeviction",
        )
    if facts.forbidden:
        user = options.username or "default"
        report.problem(
            f"user {user} has no right to: {', '.join(facts.forbidden)}",
            f"give it them: ACL SETUSER {user} ~{options.prefix}:* &{options.prefix}:* and these commands",
        )
    if facts.cluster and (facts.cluster != "ok" or facts.slots < _SLOTS):
        report.problem(
            f"the Cluster is {facts.cluster}, {facts.slots} of {_SLOTS} slots are served",
            "see CLUSTER NODES: start the nodes that are away, or assign their slots",
        )
    elif facts.clustered:
        report.ok(f"the Cluster is {facts.cluster or 'one (no right to CLUSTER INFO)'}")
    await _compare_secrets(options, secret, report)
    if facts.silent:
        report.warning(
            f"Sentinels that do not answer: {', '.join(facts.silent)}",
            "start them, or take them out of redis-address",
        )


async def _compare_secrets(options: RedisStoreOptions, secret: Secret | None, report: Reporter) -> None:
    """Whether the members that run now sign tokens with ``secret``, or with the store's if it is ``None``."""
    from ff_proxy.app.redis_store import redis_store  # noqa: PLC0415  (as above)

    with suppress(StoreUnavailable):
        async with redis_store(options, command_context()) as store:
            members = [seen.member for seen in await store.members.present()]
        if different := {one.host for one in members if one.signs_with not in {"", fingerprint(secret)}}:
            report.warning(
                f"members sign tokens with another secret: {', '.join(sorted(different))}",
                "set the same auth-secret on all members: each refuses tokens that it cannot verify",
            )


def _reach_advice(options: RedisStoreOptions) -> str:
    if options.address.socket is not None:
        return "is it running, with this path as its unixsocket?"
    spoken = "TLS (rediss://)" if options.address.tls else "without TLS (redis://)"
    return f"is it running, does a firewall let the port pass, and does it speak {spoken} there?"


async def check_data_directory(directory: Path, serving: Callable[[], bool], report: Reporter) -> None:
    """Mode, owner, free space, the file, whether it is in use; ``serving`` returns whether our proxy runs."""
    await in_daemon_thread(lambda: _data_directory(directory, serving, report), "check")


def _data_directory(directory: Path, serving: Callable[[], bool], report: Reporter) -> None:
    found = _existing(directory)
    if found != directory:
        if os.access(found, os.W_OK | os.X_OK) and found.is_dir():
            report.ok(f"{directory} does not exist yet and will be made")
        else:
            report.problem(f"{directory} does not exist and cannot be made", _writable_advice(found))
        return
    if not directory.is_dir():
        report.problem(f"{directory} is a file", "name a directory in data-dir")
        return
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        report.problem(f"{directory} cannot be written by user id {os.getuid()}", _writable_advice(directory))
        return
    _room(directory, report)
    mode = stat.S_IMODE(directory.stat().st_mode)
    if mode & _OTHERS:
        report.warning(f"other users may look into {directory} (mode {mode:04o})", f"chmod 700 {directory}")
    with _lock(lock_file(directory)) as alone:
        if not alone and serving():
            report.ok(f"{directory} is in use by the proxy that runs here")
        elif not alone:
            report.problem(
                f"{directory} is in use by another ff-proxy",
                "end it, give each proxy a directory of its own, or use Redis",
            )
    if database_file(directory).exists():
        report.ok(f"{check_stored(directory)} environments are stored in {directory}")
    else:
        report.ok(f"{directory} is empty and can be written")


def _room(directory: Path, report: Reporter) -> None:
    disk = os.statvfs(directory)
    free = disk.f_bavail * disk.f_frsize
    advice = "make room, or choose a larger volume"
    if free < _NO_BYTES or (disk.f_files and not disk.f_favail):
        report.problem(f"the disk of {directory} is full: nothing new would survive a restart", advice)
    elif free < _LITTLE_BYTES:
        report.warning(f"there are {free // 2**20} MiB left on the disk of {directory}", advice)


@contextmanager
def _lock(path: Path) -> Iterator[bool]:
    """Whether the lock of a data directory is free; releases it at the end."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        yield True
        return
    try:
        hold_lock(descriptor, shared=True)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(descriptor)


async def check_offline_directory(directory: Path, report: Reporter) -> None:
    """Whether offline mode can serve the directory."""
    await in_daemon_thread(lambda: _offline_directory(directory, report), "check")


def _offline_directory(directory: Path, report: Reporter) -> None:
    advice = f"see ff-proxy validate {directory}"
    try:
        reading = read_directory(directory)
    except OfflineDataError as error:
        report.problem(str(error), "name the directory that generate-offline-config wrote in config-dir")
        return
    problems = reading.all_problems
    bad = [one for one in problems if one.severity is not Severity.WARNING]
    usable = sum(part.environment is not None for part in reading.readings)
    if not reading.locations:
        report.problem(f"there is no environment (env-<id>) in {directory}", "is it the right directory?")
    elif bad:
        report.problem(f"{bad[0]}{f' (and {len(bad) - 1} more)' if len(bad) > 1 else ''}", advice)
    elif problems:
        report.warning(f"{usable} environments in {directory}, {len(problems)} warnings", advice)
    else:
        report.ok(f"{usable} environments in {directory}")


async def check_target_directory(directory: Path, report: Reporter) -> None:
    """Whether generate mode can write the directory."""
    await in_daemon_thread(lambda: _target_directory(directory, report), "check")


def _target_directory(directory: Path, report: Reporter) -> None:
    found = _existing(directory)
    if not found.is_dir() or not os.access(found, os.W_OK | os.X_OK):
        report.problem(f"{directory} cannot be written by user id {os.getuid()}", _writable_advice(found))
        return
    _room(found, report)
    report.ok(f"{directory} can be written")


def _existing(path: Path) -> Path:
    """``path``, or its nearest parent that exists."""
    return next(one for one in (path, *path.absolute().parents) if one.exists())


def _writable_advice(path: Path) -> str:
    owner = path.stat().st_uid
    return f"it is of user id {owner}: chown it to {os.getuid()}, or mount it writable"
