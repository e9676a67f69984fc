"""How many connections there may be: what is configured, as far as there are files for it."""

import json
import resource
from io import StringIO

import pytest

from ff_proxy.http.limits import connection_limit
from ff_proxy.telemetry.logs import make_logger

Limit = tuple[int, int]


class Files:
    """Stands in for the limit of open files, so that the tests' own is left alone."""

    def __init__(self, soft: int, hard: int, *, fixed: bool = False) -> None:
        self.limit = (soft, hard)
        self._fixed = fixed

    def get(self, _: int) -> Limit:
        return self.limit

    def set(self, _: int, limit: Limit) -> None:
        if self._fixed:
            raise ValueError("current limit exceeds maximum limit")
        self.limit = limit

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(resource, "getrlimit", self.get)
        monkeypatch.setattr(resource, "setrlimit", self.set)


@pytest.mark.parametrize(
    ("files", "configured", "limit"),
    [
        (Files(1024, 20_000), 0, 20_000 - 128),
        (Files(1024, 20_000), 500, 500),
        (Files(1024, 20_000), 50_000, 20_000 - 128),
        (Files(1024, 20_000, fixed=True), 0, 1024 - 128),
        (Files(100, 100), 0, 50),
        (Files(1, 1), 0, 1),
        (Files(1024, resource.RLIM_INFINITY), 0, 1_000_000),
        (Files(1024, 1 << 30), 0, 1_000_000),
    ],
)
def test_connections_are_limited_by_open_files(
    monkeypatch: pytest.MonkeyPatch, files: Files, configured: int, limit: int
) -> None:
    """The limit of files is raised first; some are kept for the proxy itself."""
    files.install(monkeypatch)
    assert connection_limit(configured, make_logger("INFO", StringIO())) == limit


def test_a_limit_above_the_open_file_limit_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line with both numbers; a limit that is possible is not logged."""
    Files(200, 300).install(monkeypatch)
    out = StringIO()
    connection_limit(100, make_logger("INFO", out))
    assert out.getvalue() == ""
    connection_limit(1000, make_logger("INFO", out))
    (line,) = map(json.loads, out.getvalue().splitlines())
    assert (line["level"], line["configured"], line["possible"]) == ("warning", 1000, 172)
