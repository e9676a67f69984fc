"""The proxy with two workers, compared with one process, where it can have workers."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.common.contest import Contest
from bench.common.environments import Made
from bench.common.peers import Peer, RunningPeer, TokenSource
from bench.common.site import Site, site

WORKERS = 2
_KINDS = ["flags", "new-evaluations", "known-evaluations", "auth", "usage"]


@contextmanager
def with_workers(
    alone: Site, environments: Sequence[Made], rounds: int, *, quick: bool
) -> Iterator[Contest | None]:
    """A contest between two workers and ``alone``; ``None`` if the proxy starts none."""
    one = Peer(
        name="one process",
        command=[],
        same=_KINDS,
        token=TokenSource("/client/auth", '{"apiKey":"{key}"}', "authToken"),
    )
    with site(environments, workers=str(WORKERS)) as many:
        if many.proxy.processes() <= WORKERS:
            yield None
        else:
            yield Contest(many, [RunningPeer(one, alone.proxy, Path())], rounds, quick)
