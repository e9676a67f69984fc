"""Calculate a fleet of your own.

    python -m bench.capacity --sdks 200000 --flags 300 --changes 2 --session 10

Unit costs are those of the newest file in bench/results, or of the one named by --results.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.capacity import formulas
from bench.capacity.case import Case, Member
from bench.capacity.formatting import number, seconds, share, size, table
from bench.capacity.measured import LackingError, read_units
from bench.capacity.sections import incident
from bench.capacity.units import Units
from bench.common.results import newest_report, read_report


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what the fleet needs; 1 if figures are lacking."""
    parser = _parser()
    given = parser.parse_args(arguments)
    report = newest_report() if given.results is None else read_report(given.results)
    if report is None:
        print("no results: run `make bench` first, or name a file with --results")
        return 1
    try:
        units = read_units(report)
    except LackingError as error:
        print(f"the results lack: {error}")
        return 1
    case = _case(given)
    if not case.sdks:
        parser.error("how many SDKs? --sdks, or --polling-sdks, --server-sdks, --client-sdks")
    print("\n\n".join(answer(case, units)))
    return 0


def answer(case: Case, units: Units) -> list[str]:
    """What a fleet needs and uses, and how it takes restarts and changes, as texts."""
    needs = [[need.reason, number(need.members)] for need in formulas.needs(case, units)]
    parts = [f"members of {_member_words(case.member)}:", table(["for", "members"], needs)]
    given = formulas.fleet(case, units)
    if given is None:
        return [*parts, "No number of members is enough: give each more memory."]
    parts.append(f"**{given.members:,} members**, with some to spare. CPU, over all of them:")
    used = formulas.cpu(case, units)
    parts.append(table(["", "cores"], [[name, number(cores)] for name, cores in used.items()]))
    asked = formulas.redis(case, units, given.members)
    seen = formulas.harness(case)
    parts.append(
        f"They hold {number(case.streams)} streams and send {size(formulas.sent(case, units))} a second. They"
        f" ask Redis {number(asked.commands)} commands and {size(asked.bytes)} a second, {share(asked.cpu)}"
        f" of a core over all nodes; it holds {size(formulas.redis_memory(case, units))}. Harness sees"
        f" {number(seen.streams)} streams, {number(seen.posts)} posts of usage a minute and"
        f" {number(seen.targets)} new targets a second."
    )
    if case.streaming:
        reached = formulas.reached_seconds(case, units, given.members)
        parts.append(f"A change is with everyone within {seconds(reached)}.")
    bounds = [[limit.name, share(limit.used), limit.then] for limit in formulas.limits(case, units)]
    parts += ["What more members do not help against:", table(["", "in use", "beyond it"], bounds)]
    if case.streaming:
        parts += ["If all come back at once:", incident(given)]
    return parts


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.capacity",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    one, member = Case(), Member()
    parser.add_argument(
        "--sdks", type=float, default=0, metavar="N", help="SDKs that stream, nine of ten of them client SDKs"
    )
    parser.add_argument("--polling-sdks", type=float, default=0, metavar="N", help="server SDKs that poll")
    parser.add_argument("--server-sdks", type=float, default=0, metavar="N", help="server SDKs that stream")
    parser.add_argument("--client-sdks", type=float, default=0, metavar="N", help="client SDKs that stream")
    parser.add_argument("--environments", type=int, default=one.environments, help="they are spread over")
    parser.add_argument("--flags", type=int, default=one.flags, help="in each environment")
    parser.add_argument("--changes", type=float, default=one.changes, help="a minute, in each environment")
    parser.add_argument("--counts", type=int, default=one.counts, help="in a post of usage")
    parser.add_argument("--sending", type=float, default=one.sending, help="metric-post-duration, seconds")
    parser.add_argument("--session", type=float, default=0, help="minutes that client SDKs stay; 0: for ever")
    parser.add_argument("--tls", action="store_true", help="SDKs talk to the proxies through TLS")
    parser.add_argument(
        "--within", type=float, default=one.within, help="seconds for a change to be everywhere"
    )
    parser.add_argument("--cores", type=int, default=member.cores, help="of each member")
    parser.add_argument("--memory", type=float, default=member.memory / 1e9, help="of each member, GB")
    parser.add_argument("--files", type=int, default=member.files, help="each member's limit of open files")
    parser.add_argument("--network", type=float, default=1, help="of each member, Gbit/s")
    parser.add_argument(
        "--headroom", type=float, default=member.headroom, help="share of the CPU to be in use"
    )
    parser.add_argument("--nodes", type=int, default=one.nodes, help="of Redis")
    parser.add_argument("--results", type=Path, metavar="FILE", help="of `make bench`")
    return parser


def _case(given: argparse.Namespace) -> Case:
    return Case(
        polling=given.polling_sdks,
        server=given.server_sdks + given.sdks * 0.1,
        client=given.client_sdks + given.sdks * 0.9,
        environments=given.environments,
        flags=given.flags,
        changes=given.changes,
        counts=given.counts,
        sending=given.sending,
        session=given.session,
        tls=given.tls,
        within=given.within,
        member=Member(given.cores, given.memory * 1e9, given.files, given.network * 1e9 / 8, given.headroom),
        nodes=given.nodes,
    )


def _member_words(member: Member) -> str:
    """The resources of a member, in words."""
    cores = f"{member.cores} core{'s' if member.cores > 1 else ''}"
    network = f"{number(member.network * 8 / 1e9)} Gbit/s"
    return f"{cores}, {number(member.memory / 1e9)} GB, {member.files:,} files, {network}"


if __name__ == "__main__":
    sys.exit(main())
