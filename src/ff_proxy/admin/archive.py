"""Writes an offline directory of everything this proxy serves as one archive."""

import gzip
import io
import tarfile
from collections.abc import Mapping, Sequence
from typing import Final

from ff_proxy.model.environment import Domain, EnvironmentConfig
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.target import Target
from ff_proxy.offline.format import OfflineEnvironment, encode_environment
from ff_proxy.offline.layout import PREFIX
from ff_proxy.snapshots.snapshot import Snapshot

_FILE_MODE: Final = 0o600
_DIRECTORY_MODE: Final = 0o700


def make_archive(
    snapshots: Sequence[Snapshot], targets: Mapping[EnvironmentId, Sequence[Target]], written: float
) -> bytes:
    """A ``tar.gz`` of what ``generate-offline-config`` would write, with ``targets``; slow, so use a thread.

    ``written`` is in seconds since the epoch.
    """
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=int(written)) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for snapshot in sorted(snapshots, key=lambda one: one.environment):
            folder = f"{PREFIX}{snapshot.environment}"
            directory = tarfile.TarInfo(folder)
            directory.type, directory.mode, directory.mtime = tarfile.DIRTYPE, _DIRECTORY_MODE, int(written)
            archive.addfile(directory)
            for name, data in encode_environment(
                _offline(snapshot, targets.get(snapshot.environment, ())), written
            ).items():
                entry = tarfile.TarInfo(f"{folder}/{name}")
                entry.size, entry.mode, entry.mtime = len(data), _FILE_MODE, int(written)
                archive.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


def _offline(snapshot: Snapshot, targets: Sequence[Target]) -> OfflineEnvironment:
    config = EnvironmentConfig(
        info=snapshot.info,
        flags={name: part.item for name, part in snapshot.items(Domain.FLAG).items()},
        segments={name: part.item for name, part in snapshot.items(Domain.SEGMENT).items()},
        keys=snapshot.keys,
        revision=snapshot.revision,
        since=snapshot.since,
    )
    return OfflineEnvironment(config, tuple(targets))
