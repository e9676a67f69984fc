"""``python -m tests.chaos.page [--check]``: writes docs/proof.md from the matrix and the newest runs."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from tests.chaos.catalogue import FAULTS
from tests.chaos.driver import CONVERGED_WITHIN
from tests.chaos.matrix import CELLS, KINDS, State
from tests.chaos.records import Record, read_records
from tests.chaos.world import Form

PAGE: Final = Path(__file__).parents[2] / "docs/proof.md"
_MEBIBYTE: Final = 1024 * 1024

_HEAD: Final = """\
# Proof

What this proxy is put through, what it promises meanwhile, and what came of it. `python -m
tests.chaos.page` writes this page from the tests' tables and from the newest runs; times and memory are
those of the machine on which a run was made, which was busy with other work.
"""

_COMMANDS: Final = (
    ("`make chaos` (`SEED=`, `SECONDS=`, `FORM=`)", "faults at random, in every form", "three seeds"),
    ("`make faults` (`SECONDS=`, `FORM=`)", "every kind of trouble with every link", "some of each form"),
    ("`make fuzz` (`SEED=`, `REQUESTS=`)", "100,000 bad requests, to one process and to several", "600 each"),
    ("`make abuse`", "hostile clients of every kind beside a good one", "every third kind, small"),
    ("`make soak` (`SECONDS=`)", "SDKs that come and go", "4 seconds"),
)

_PROMISES: Final = """\
A run that breaks a promise ends with exit code 1, says which, when, and after what, and names its seed. With
`-keep` (`python -m tests.chaos -help`) its figures come onto this page when it is written next.

## What must hold, whatever goes wrong

While people read flags in every way, evaluate, authenticate with targets, post usage and listen to
streams, at every member, and a flag changes several times a second:

- No request is refused, and none waits for longer than ten seconds. Only connections of a process that
  was killed end. A member that was started while its store was in trouble may say 502 or 503 until that
  is over.
- Nobody is given an older value than before.
- Streams stay open; every change reaches every one of them, also of what was deleted, within
  {seconds:.0f} seconds of the last fault, without a later change to help.
- Usage is counted once: twice at most where an answer or an acknowledgement may have been lost, and not
  at all where a process was killed within a second, or a store was emptied or failed over
  ([storage](storage.md)).
- Readiness is never 503 after the start; it says `ready` again when all is in order.
- One stream to Harness for each environment, memory and files as at the beginning, no unexpected
  failure of a background service, no process that ended by itself, no secret and no stack trace in a
  log.
"""


def page(records: dict[str, Record]) -> str:
    """The page's text."""
    parts = [
        _HEAD,
        _table(("command", "what it does", "in the suite"), _COMMANDS),
        _PROMISES.format(seconds=CONVERGED_WITHIN),
        "## Faults at random\n",
        f"{len(FAULTS)} kinds: {', '.join(sorted(fault.name for fault in FAULTS))}.\n",
        *_chaos(records),
        "## Every kind of trouble with every link\n",
        *_matrix(records),
        "## Bad requests\n",
        *_fuzz(records),
        "## Hostile clients\n",
        *_abuse(records),
        "## Coming and going\n",
        *_soak(records),
    ]
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def _table(titles: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [f"| {' | '.join(titles)} |", "|" + "---|" * len(titles)]
    lines += [f"| {' | '.join(str(cell) for cell in row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def _run_of(record: Record) -> str:
    return f"{record.when}, {record.commit}"


def _chaos(records: dict[str, Record]) -> Iterator[str]:
    rows = []
    for form in Form:
        record = records.get(f"chaos-{form}")
        if record is not None:
            told: dict[str, Any] = record.figures
            rows.append(
                (
                    form,
                    told["seed"],
                    f"{told['seconds']:.0f} s",
                    sum(told["faults"].values()),
                    f"{told['answers']:,}",
                    f"{told['events']:,}",
                    told["changes"],
                    f"{max(told['recovery']):.1f} s",
                    f"{told['posts']:,}",
                    told["waiting"],
                    told["lost"],
                    told["twice"],
                    _run_of(record),
                )
            )
    titles = ("form", "seed", "time", "faults", "answers", "events", "changes", "in order after at most")
    usage = ("posts", "waiting still", "lost", "twice", "run")
    yield _table((*titles, *usage), rows)
    yield "Posts wait, are lost or count twice in the windows above only; any other would end the run.\n"


def _matrix(records: dict[str, Record]) -> Iterator[str]:
    yield (
        "Beside what must hold always: *ready*: readiness says nothing else meanwhile; "
        "*degraded*: it says so, once the trouble lasts; *arrive*: changes arrive all the same, "
        "not only afterwards. In brackets: seconds from its end until all was in order, in the "
        "newest run (several: as many ways of making it).\n"
    )
    took: dict[tuple[str, str], list[str]] = {}
    for record in records.values():
        if record.name.startswith("matrix-"):
            for cell in record.figures["cells"]:
                took.setdefault((cell["link"], cell["kind"]), []).append(f"{cell['seconds']:.1f}")
    rows = []
    for link in dict.fromkeys(cell.link for cell in CELLS):
        row = [link]
        for kind in KINDS:
            cells = [cell for cell in CELLS if (cell.link, cell.kind) == (link, kind)]
            promises = dict.fromkeys(
                word
                for cell in cells
                for word, holds in (
                    (cell.state.value, cell.state is not State.EITHER),
                    ("arrive", cell.changes),
                )
                if holds
            )
            measured = took.get((link, kind), [])
            told = f" ({', '.join(measured)})" if measured else ""
            row.append(f"{', '.join(promises) or 'served'}{told}" if cells else "")
        rows.append(row)
    yield _table(("link", *KINDS), rows)


def _fuzz(records: dict[str, Record]) -> Iterator[str]:
    rows = []
    for form in (Form.MEMORY, Form.WORKERS):
        record = records.get(f"fuzz-{form}")
        if record is not None:
            told = record.figures
            statuses = ", ".join(f"{status}: {count:,}" for status, count in told["statuses"].items())
            memory = f"{told['memory_before'] / _MEBIBYTE:.0f} → {told['memory_after'] / _MEBIBYTE:.0f} MiB"
            files = f"{told['files_before']} → {told['files_after']}"
            longest = f"{told['longest']:.1f} s"
            rows.append((form, f"{told['requests']:,}", statuses, longest, memory, files, _run_of(record)))
    yield (
        "Wrong in method, path, fields, token, framing or body, over every route; no answer is a "
        "5xx, and none takes ten seconds.\n"
    )
    yield _table(("form", "requests", "answers", "longest", "memory from a fifth on", "files", "run"), rows)


def _abuse(records: dict[str, Record]) -> Iterator[str]:
    record = records.get("abuse")
    rows = [
        (
            seen["kind"],
            f"{seen['size']:,}",
            f"{seen['p50'] * 1000:.0f} / {seen['p99'] * 1000:.0f} / {seen['longest'] * 1000:.0f} ms",
            " → ".join(
                f"{seen[name] / _MEBIBYTE:.0f}" for name in ("memory_before", "memory_most", "memory_after")
            ),
            f"{seen['files_before']} → {seen['files_after']}",
        )
        for seen in (record.figures if record else ())
    ]
    yield (
        "One process, `max-connections=3200`, `memory-budget=256 MiB`. Beside it a good client on "
        "one connection, in a process of its own, which must be answered 200 all the time, and a "
        "probe, which must be answered `ready`.\n"
    )
    yield _table(("kind", "how many", "good client: p50 / p99 / longest", "memory, MiB", "files"), rows)
    if record is not None:
        yield f"Run: {_run_of(record)}.\n"


def _soak(records: dict[str, Record]) -> Iterator[str]:
    record = records.get("soak")
    if record is None:
        yield "No run yet.\n"
        return
    told = record.figures
    yield (
        f"{told['visits']:,} SDKs came, fetched, evaluated, listened, posted and went in "
        f"{told['seconds']:.0f} seconds. After a third of the time and in the end, with all of "
        f"them gone: memory {told['memory_early'] / _MEBIBYTE:.0f} and "
        f"{told['memory_end'] / _MEBIBYTE:.0f} MiB, files {told['files_early']} and "
        f"{told['files_end']}, tasks {told['tasks_early']} and {told['tasks_end']}. The event loop "
        f"was never held for longer than 50 ms of processor time. Run: {_run_of(record)}.\n"
    )


def main(arguments: Sequence[str]) -> int:
    """Exit code 1 if ``--check`` finds the page to be out of date."""
    text = page(read_records())
    if arguments != ["--check"]:
        PAGE.write_text(text, encoding="utf-8")
        return 0
    if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text:
        return 0
    sys.stderr.write("docs/proof.md is out of date: run python -m tests.chaos.page, and commit it\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
