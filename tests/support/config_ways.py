"""The same configuration said in every way there is."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ff_proxy.config import records
from ff_proxy.config.declare import Option
from ff_proxy.config.load import Loaded, load
from ff_proxy.config.sources import ReadFile

Declared = Sequence[Option[Any]]

ONLINE: Mapping[str, str] = {
    "account-identifier": "acc",
    "org-identifier": "org",
    "admin-service-token": "pat.token",
    "api-keys": "11111111-aaaa,22222222-bbbb",
}
UNGUESSABLE = "4f0c2b9e7d1a6538e2c7905bd3f8164a"  # good for auth-secret: no warning
REPLICA: Mapping[str, str] = {"read-replica": "true", "redis-address": "redis.example:6379"}


@dataclass(frozen=True)
class Said:
    """One way of saying values: a command line, an environment, and files by their path."""

    argv: Sequence[str] = ()
    environ: Mapping[str, str] | None = None
    files: Mapping[str, str] | None = None

    def load(self) -> Loaded:
        """What the values load to."""
        return load(self.argv, self.environ or {}, reader(self.files or {}))


def reader(files: Mapping[str, str]) -> ReadFile:
    """A file system that holds exactly ``files``."""

    def read(path: Path) -> bytes:
        if str(path) not in files:
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return files[str(path)].encode()

    return read


def variable(flag: str, declared: Declared) -> str:
    """The environment variable of a flag."""
    return next(option.env for option in declared if option.flag == flag)


def as_flags(values: Mapping[str, str], _: Declared = records.ALL) -> Said:
    """``-name=value`` for each."""
    return Said(argv=[f"-{flag}={value}" for flag, value in values.items()])


def as_separate_words(values: Mapping[str, str], declared: Declared = records.ALL) -> Said:
    """``--name value``, booleans aside, which never take the next word."""
    booleans = {option.flag for option in declared if option.kind.standalone}
    argv = []
    for flag, value in values.items():
        argv.extend([f"--{flag}={value}"] if flag in booleans else [f"--{flag}", value])
    return Said(argv=argv)


def as_environment(values: Mapping[str, str], declared: Declared = records.ALL) -> Said:
    """An environment variable for each, with spaces behind as Docker passes them."""
    return Said(environ={variable(flag, declared): f"{value}   " for flag, value in values.items()})


def as_env_file(values: Mapping[str, str], declared: Declared = records.ALL) -> Said:
    """A ``.env`` file."""
    lines = [f"{variable(flag, declared)}={value}   " for flag, value in values.items()]
    return Said(argv=["-env-file", ".env"], files={".env": "\n".join(["// how it is run", *lines])})


def as_toml(values: Mapping[str, str], _: Declared = records.ALL) -> Said:
    """A TOML file of strings whose keys are named like the flags."""
    lines = [f"{flag} = {json.dumps(value)}" for flag, value in values.items()]
    return Said(argv=["-config", "ff.toml"], files={"ff.toml": "\n".join(lines)})


def as_native_toml(values: Mapping[str, str], _: Declared = records.ALL) -> Said:
    """A TOML file that uses TOML's own types, and underscores."""
    lines = []
    for flag, value in values.items():
        literal = value if value in {"true", "false"} or value.isdigit() else json.dumps(value)
        if flag == "api-keys":
            literal = json.dumps(value.split(","))
        lines.append(f"{flag.replace('-', '_')} = {literal}")
    return Said(argv=["-config=ff.toml"], files={"ff.toml": "\n".join(lines)})


WAYS: Sequence[Callable[..., Said]] = (
    as_flags,
    as_separate_words,
    as_environment,
    as_env_file,
    as_toml,
    as_native_toml,
)
