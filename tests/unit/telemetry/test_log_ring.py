"""The last lines in memory."""

import io
import json

from hypothesis import given
from hypothesis import strategies as st

from ff_proxy.telemetry.log_ring import LogRing
from ff_proxy.telemetry.logs import make_logger


@given(st.lists(st.lists(st.integers(1, 400), min_size=1, max_size=4), max_size=60))
def test_it_keeps_the_newest_lines_within_both_bounds(blocks: list[list[int]]) -> None:
    """It keeps the newest lines within both bounds."""
    ring = LogRing(lines=10, budget=2000)
    written: list[str] = []
    for block in blocks:
        lines = [json.dumps({"event": "x" * size, "level": "info", "n": len(written)}) for size in block]
        written += ["x" * size for size in block]
        ring.write("".join(f"{line}\n" for line in lines))
    kept = [line.event for line in ring.lines()]
    assert kept == written[::-1][: len(kept)]
    assert sum(map(len, kept)) <= 2000
    # Whole blocks go: as long as the newest one is not needed for the bound, it stays.
    assert len(kept) <= 10 + 3


def test_what_is_written_for_people_is_kept_as_well() -> None:
    """What is written for people is kept as well."""
    ring = LogRing()
    log = make_logger("INFO", io.StringIO(), form="text", recent=ring).bind(component="store")
    log.warning("it hangs", environment="e1", secret=object, half="\ud800")
    log.debug("not written")
    (line,) = ring.lines()
    assert (line.level, line.component, line.event, line.about) == ("warning", "store", "it hangs", "e1")
    assert json.loads(line.facts)["half"] == "?"


_IDS = st.text("ae10-", min_size=1, max_size=4)


@given(st.lists(_IDS, max_size=8), _IDS, st.sampled_from(["environment", "subject"]))
def test_lines_of_one_environment_are_not_those_of_a_longer_name(
    environments: list[str], wanted: str, fact: str
) -> None:
    """An id counts as a whole: env-1 is not env-10. What belongs to an environment counts as it."""
    ring = LogRing()
    log = make_logger("INFO", io.StringIO(), recent=ring)
    abouts = [f"{name}{rest}" for name in environments for rest in ("", "/flag", " flags", f"/{wanted}")]
    for about in abouts:
        log.info("event", **{fact: about})
    assert [line.about for line in ring.lines(environment=wanted)] == [
        about
        for about in reversed(abouts)
        if about == wanted or about.startswith((f"{wanted}/", f"{wanted} "))
    ]
