"""Running checks of ``ff-proxy doctor`` by themselves."""

from collections.abc import Awaitable, Callable

from ff_proxy.commands.doctor.findings import Check, Finding, Outcome, Reporter, run_checks


async def findings_of(*checks: Check) -> list[Finding]:
    """What they find; shown in the same order as they are returned."""
    shown: list[Finding] = []
    found = await run_checks(checks, shown.append, lambda _done, _waiting: None)
    assert shown == found
    return found


async def found_by(work: Callable[[Reporter], Awaitable[None]]) -> list[Finding]:
    """What one check finds."""
    return await findings_of(Check("it", work))


def trouble(findings: list[Finding]) -> list[Finding]:
    """Those that somebody has to do something about: each says what, in one line."""
    bad = [one for one in findings if one.outcome in {Outcome.PROBLEM, Outcome.WARNING}]
    assert all(one.text and "\n" not in one.text + one.advice for one in bad)
    return bad


def the_trouble(findings: list[Finding]) -> str:
    """The one line there is of trouble."""
    (one,) = trouble(findings)
    return f"{one.outcome.value} {one.text}: {one.advice}"
