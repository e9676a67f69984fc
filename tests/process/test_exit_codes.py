"""How the process ends when it cannot begin: code, one clear message, never a trace.

See spec/behaviour#modes, spec/behaviour#options.
"""

import functools
import json
import os
import socket
import sqlite3
from contextlib import closing
from pathlib import Path

from ff_proxy.sandbox.faults import Fault
from ff_proxy.sandbox.seed import default_environments
from ff_proxy.store.sqlite.schema import APPLICATION
from tests.integration.harness import online_options, sandbox
from tests.support import commands
from tests.support.commands import Command, as_flags
from tests.support.offline import ENV, bakery
from tests.support.ports import free_port
from tests.support.sdk_like import KEYS

run = functools.partial(commands.run, fresh=True)  # what is tried is how a program starts

ONLINE = [
    "-account-identifier=a",
    "-org-identifier=o",
    "-admin-service-token=t0p-secret",
    "-api-keys=raw-key-1",
]


async def test_nothing_configured_lists_everything() -> None:
    """Every variable, then what is required and missing."""
    code, said = await run()
    assert code == 2
    assert "REDIS_ADDRESS" in said
    last = said.strip().splitlines()[-1]
    assert all(
        name in last for name in ("account-identifier", "org-identifier", "admin-service-token", "api-keys")
    )


async def test_all_problems_are_told_at_once() -> None:
    """Unknown flags with a suggestion, bad values with the option's name."""
    code, said = await run(*ONLINE, "-prot=1", "-flag-poll-interval=0", "-json-values=odd")
    assert code == 2
    assert "prot" in said
    assert "port" in said
    assert "flag-poll-interval" in said
    assert "json-values" in said


async def test_a_busy_port_is_one_line() -> None:
    """Exit 3, and what to change."""
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        code, said = await run(*ONLINE, f"-port={port}", "-client-service=http://127.0.0.1:1")
    assert code == 3
    lines = [line for line in said.splitlines() if str(port) in line and '"starting"' not in line]
    assert len(lines) == 1
    assert "in use" in lines[0]


async def test_what_cannot_be_read_offline_is_named_with_the_reason(tmp_path: Path) -> None:
    """Rather than serve half of what was meant; ``validate`` says the same."""
    bakery(tmp_path)
    (tmp_path / "env-other").symlink_to("nowhere")
    (tmp_path / f"env-{ENV}" / "segments.json").unlink()
    (tmp_path / f"env-{ENV}" / "segments.json").mkdir()
    code, said = await run("-offline", f"-config-dir={tmp_path}", f"-port={free_port()}")
    assert code == 3
    checked, told = await run("validate", str(tmp_path))
    assert checked == 2
    for text in (said, told):
        assert f"{tmp_path}/env-other: it cannot be read: the link is broken" in text
        assert f"{tmp_path}/env-{ENV}/segments.json: it cannot be read: Is a directory" in text
        assert "Traceback" not in text


async def test_a_broken_offline_file_is_named_with_its_place(tmp_path: Path) -> None:
    """Exit 3."""
    place = tmp_path / "env-e1"
    place.mkdir()
    (place / "feature_config.json").write_text('[\n {"feature": \n]')
    code, said = await run("-offline", f"-config-dir={tmp_path}", f"-port={free_port()}")
    assert code == 3
    assert str(place / "feature_config.json") in said
    assert "line 3" in said


async def test_a_missing_directory_and_unusable_certificates(tmp_path: Path) -> None:
    """Each exit 3, with the path."""
    code, said = await run("-offline", "-config-dir=/nowhere/at/all", f"-port={free_port()}")
    assert code == 3
    assert "/nowhere/at/all" in said
    (tmp_path / "env-e1").mkdir()
    paper = tmp_path / "paper.pem"
    paper.write_text("not a certificate")
    tls = ["-tls-enabled", f"-tls-cert={paper}", f"-tls-key={paper}"]
    code, said = await run("-offline", f"-config-dir={tmp_path}", f"-port={free_port()}", *tls)
    assert code == 3
    assert str(paper) in said


async def test_a_data_directory_in_use_is_refused(tmp_path: Path) -> None:
    """Exit 3, with what to do instead."""
    (tmp_path / "env-e1").mkdir()
    one = ["-offline", f"-config-dir={tmp_path}", f"-data-dir={tmp_path / 'data'}", "-shutdown-delay=0"]
    first = Command(*one, f"-port={free_port()}", fresh=True)
    await first.start()
    await first.until("listening")
    code, said = await run(*one, f"-port={free_port()}")
    assert code == 3
    assert "in use by another ff-proxy" in said
    await first.kill()


async def test_a_store_that_cannot_be_read_says_what_to_do(tmp_path: Path) -> None:
    """Exit 3: damaged, of a newer version, another program's; with a single process and with several."""
    file = tmp_path / "ff-proxy.sqlite"
    for statement, saying in (
        ("", "is damaged"),
        (f"PRAGMA application_id = {APPLICATION}; PRAGMA user_version = 99", "newer ff-proxy"),
        ("PRAGMA user_version = 1", "not a file of ff-proxy"),
    ):
        file.unlink(missing_ok=True)
        if statement:
            with closing(sqlite3.connect(file)) as theirs:
                theirs.executescript(f"{statement}; CREATE TABLE theirs (x)")
        else:
            file.write_bytes(b"neither new nor whole " * 500)
        before = file.read_bytes()
        for workers in ("1", "2"):
            told = [f"-data-dir={tmp_path}", f"-workers={workers}", "-client-service=http://127.0.0.1:1"]
            code, said = await run(*ONLINE, *told, f"-port={free_port()}", "-admin-address=off")
            assert code == 3, said
            assert saying in said
            assert "move" in said
            assert "Traceback" not in said
            assert file.read_bytes() == before


async def test_generate_writes_everything_or_nothing(tmp_path: Path) -> None:
    """Exit 0 and a directory that serves; or non-zero and the older one untouched."""
    target = tmp_path / "config"
    async with sandbox(*default_environments()) as saas:
        online = as_flags(online_options(saas, KEYS.values()))
        generate = [*online, "-generate-offline-config", f"-config-dir={target}"]
        code, said = await run(*generate)
        assert code == 0, said
        assert len(list(target.glob("env-*"))) == 3
        targets = json.loads(next(target.glob("env-1*/targets.json")).read_text())
        assert targets, "targets are always fetched"
        before = {path: path.read_bytes() for path in target.rglob("*.json")}
        saas.faults.add(Fault(route="segments", environment="production", status=500))
        code, said = await run(*generate, seconds=60)
        assert code == 1
        assert "22222222-2222-4222-8222-222222222222" in said
        assert {path: path.read_bytes() for path in target.rglob("*.json")} == before
        saas.faults.clear()
    code, said = await run("validate", str(target))
    assert code == 0
    assert "3 environments, 0 errors" in said


async def test_generate_needs_a_directory_it_can_write(tmp_path: Path) -> None:
    """Exit 3 before any request, naming the user id."""
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    async with sandbox(*default_environments()) as saas:
        online = as_flags(online_options(saas, KEYS.values()))
        code, said = await run(*online, "-generate-offline-config", f"-config-dir={blocked / 'below'}")
        assert code == 3
        assert f"user id {os.getuid()}" in said
        assert saas.journal.count("auth") == 0


async def test_secrets_are_masked_wherever_options_are_shown() -> None:
    """print-config tells values and sources, and no secret."""
    code, said = await run("print-config", *ONLINE, "-redis-password=t0p-secret", AUTH_SECRET="t0p-secret")
    assert code == 0
    assert "auth-secret" in said
    code, said = await run("version")
    assert code == 0
