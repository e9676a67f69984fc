"""The table "Where a change goes" in docs/architecture.md is true: toys that are added as it says work."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.offline import bakery

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
SOURCE = ROOT / "src/ff_proxy"
_FILE = re.compile(r"`([a-z_]+/[a-z_/]+\.py)`")

# By file: what is inserted, before which text. A file that is new has no text to stand before.
OPTION = {
    "config/serving_options.py": (
        "    max_body_size: int = option(",
        '    toy_greeting: str = option(kinds.TEXT, "hello", "What the toy says")\n',
    ),
    "app/serving.py": (
        "        metrics=page ",
        "        toy=Toy(options.limits.toy_greeting, telemetry),\n",
    ),
}
HANDLER = """
from ff_proxy.http.request import Request
from ff_proxy.http.response import Response, json_response
from ff_proxy.telemetry import Telemetry


class Toy:
    def __init__(self, greeting: str, telemetry: Telemetry) -> None:
        self._greeting = greeting
        self._metrics = telemetry.metrics

    def __call__(self, _: Request) -> Response:
        self._metrics.toys.inc()
        return json_response(200, b'{"says":"%s"}' % self._greeting.encode())
"""
ENDPOINT = {
    "api/toy.py": ("", HANDLER),
    "api/routes.py": ('        *([Route("GET", "/metrics", ', '        Route("GET", "/toy", toy),\n'),
    "app/serving.py": ("from ff_proxy.api.usage_posts ", "from ff_proxy.api.toy import Toy\n"),
}
SIGNATURE = ("    metrics: MetricsPage | None,\n", "    toy: Handler,\n")
IMPORT = ("from ff_proxy.http.routes import NO_LIMIT, Route\n", "from ff_proxy.http.handler import Handler\n")
METRIC = {
    "telemetry/metrics.py": (
        "        self.sdk_usage = counter(",
        '        self.toys = counter("ff_proxy_toys", "Toys shown.")\n',
    ),
}

# What a developer would try by hand: the flag, the endpoint, the metric, and the generated help.
TRIAL = """
import asyncio, os, random, sys
from ff_proxy.app.build import build
from ff_proxy.app.process import command_context
from ff_proxy.app.roles import Single
from ff_proxy.config import records
from ff_proxy.config.load import load
from ff_proxy.config.reference import as_text

async def ask(port, path):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\\r\\nHost: toy\\r\\nConnection: close\\r\\n\\r\\n".encode())
    answer = await reader.read()
    writer.close()
    return answer.decode()

async def main():
    argv = ["-offline", "-host", "127.0.0.1", "-port", "0", "-config-dir", sys.argv[1]]
    argv += ["-toy-greeting", "good day"]
    role = Single(load(argv, {}).options)
    async with build(role, command_context()) as process:
        await process.start()
        server = process.essential[0]
        running = asyncio.create_task(server.run())
        try:
            toy, metrics = await ask(server.port, "/toy"), await ask(server.port, "/metrics")
        finally:
            running.cancel()
            await asyncio.wait([running])
    assert '{"says":"good day"}' in toy, toy
    assert "ff_proxy_toys_total 1.0" in metrics, metrics
    assert "-toy-greeting" in as_text(records.ALL)
    assert load([], {"OFFLINE": "true", "TOY_GREETING": "hi"}).options.serving.limits.toy_greeting == "hi"

asyncio.run(main())
"""


def files_of(change: str) -> set[str]:
    """The files that the table names for a change."""
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| {change} *"))
    return set(_FILE.findall(row)) | ({"api/toy.py"} if "`api/NAME.py`" in row else set())


def insert(tree: Path, name: str, before: str, text: str) -> None:
    """Make a change in a copy of the code; the place must be there exactly once."""
    path = tree / name
    if not before:
        path.write_text(text, encoding="utf-8")
        return
    found = path.read_text(encoding="utf-8")
    assert found.count(before) == 1, (name, before)
    path.write_text(found.replace(before, text + before), encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "made"),
    [("option", set(OPTION)), ("endpoint", set(ENDPOINT)), ("metric", {*METRIC})],
)
def test_the_table_names_at_most_three_files(change: str, made: set[str]) -> None:
    """And those are the ones that the toy changes below are made in."""
    named = files_of(change)
    assert made <= named
    assert 1 <= len(named) <= 3


def test_toys_that_are_added_as_the_table_says_work(tmp_path: Path) -> None:
    """An option, an endpoint that uses it, and a metric that it counts, in a copy of the code."""
    tree = tmp_path / "src/ff_proxy"
    shutil.copytree(SOURCE, tree, ignore=shutil.ignore_patterns("__pycache__", "*.md"))
    for change in (OPTION, ENDPOINT, METRIC):
        for name, (before, text) in change.items():
            insert(tree, name, before, text)
    insert(tree, "api/routes.py", *SIGNATURE)
    insert(tree, "api/routes.py", *IMPORT)
    bakery(tmp_path / "config")
    tried = subprocess.run(
        [sys.executable, "-c", TRIAL, str(tmp_path / "config")],
        env={**os.environ, "PYTHONPATH": str(tree.parent), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert tried.returncode == 0, tried.stderr


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`([a-z_]+/(?:[a-z_]+/)*[a-z_]+\.py)`", PAGE))))
def test_every_file_on_the_page_exists(name: str) -> None:
    """Below the package, or below the repository."""
    assert (SOURCE / name).is_file() or (ROOT / name).is_file()
