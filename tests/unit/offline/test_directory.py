"""Reading a whole directory so that every environment is of one moment."""

from pathlib import Path

import pytest

from ff_proxy.offline import directory as module
from ff_proxy.offline.directory import read_directory
from ff_proxy.offline.files import Files
from ff_proxy.offline.format import Reading, read_environment
from ff_proxy.offline.layout import Location
from tests.support.offline import ENV, ENV_ID, OTHER, OTHER_ID, bakery, write_files


def test_only_what_is_not_known_is_read(tmp_path: Path) -> None:
    """An environment whose files are as they were is not read again."""
    bakery(tmp_path, ENV)
    bakery(tmp_path, OTHER)
    first = read_directory(tmp_path)
    assert [one.location for one in first.readings] == list(first.locations)
    known = {location.environment: location for location in first.locations}
    assert set(known) == {ENV_ID, OTHER_ID}
    assert read_directory(tmp_path, known).readings == ()

    bakery(tmp_path, OTHER, version=4)

    second = read_directory(tmp_path, known)
    assert [one.location.environment for one in second.readings] == [OTHER_ID]
    assert {location.environment for location in second.locations} == {ENV_ID, OTHER_ID}


def test_disputed_environments_are_told(tmp_path: Path) -> None:
    """They are not gone, and they are not read."""
    write_files(tmp_path / "a" / f"env-{ENV}", targets=[])
    write_files(tmp_path / "b" / f"env-{ENV}", targets=[])
    reading = read_directory(tmp_path)
    assert (reading.locations, reading.readings, reading.duplicates) == ((), (), frozenset({ENV_ID}))
    assert len(reading.problems) == 1


def test_what_changes_while_it_is_read_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of an old and half of a new environment never come out."""
    bakery(tmp_path, version=1)

    def read_and_change(location: Location, files: Files) -> Reading:
        reading = read_environment(location, files)
        if not pauses:
            bakery(tmp_path, version=2)
        return reading

    pauses: list[float] = []
    monkeypatch.setattr(module, "read_environment", read_and_change)

    (reading,) = read_directory(tmp_path, pause=pauses.append).readings

    assert reading.environment is not None
    assert reading.environment.config.flags["glaze"].version == 2
    assert len(pauses) == 1


def test_what_changes_all_the_time_is_read_at_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trying comes to an end; the next look will see another change anyway."""
    bakery(tmp_path, version=1)
    pauses: list[float] = []

    def read_and_change(location: Location, files: Files) -> Reading:
        reading = read_environment(location, files)
        bakery(tmp_path, version=10 ** (len(pauses) + 1))
        return reading

    monkeypatch.setattr(module, "read_environment", read_and_change)
    assert len(read_directory(tmp_path, pause=pauses.append).readings) == 1
    assert 1 < len(pauses) < 10
