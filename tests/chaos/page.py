"""``python -m tests.chaos.page [--check]``: generates docs/proof.md from the matrix and the newest runs."""

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

The failures this proxy is tested against, the guarantees checked meanwhile, and the results. `python -m
tests.chaos.page` generates this page from the tests' tables and the newest runs. Times and memory are
those of the test machine, which was busy with other work.
"""

_COMMANDS: Final = (
    ("`make chaos` (`SEED=`, `SECONDS=`, `FORM=`)", "faults at random, in every form", "three seeds"),
    ("`make faults` (`SECONDS=`, `FORM=`)", "every kind of fault on every link", "some of each form"),
    ("`make fuzz` (`SEED=`, `REQUESTS=`)", "100,000 bad requests, to one process and to several", "600 each"),
    ("`make abuse`", "hostile clients of every kind beside a well-behaved one", "every third kind, small"),
    ("`make soak` (`SECONDS=`)", "SDKs that come and go", "4 seconds"),
)

_PROMISES: Final = """\
A run that violates a guarantee ends with exit code 1, and prints the guarantee, the time, the faults before
it and the seed. With `-keep` (`python -m tests.chaos -help`) its results are added to this page.

## Guarantees

While clients read flags in every way, evaluate, authenticate with targets, post usage and listen to
streams, at every member, and a flag changes several times a second:

- No request is refused, and none takes longer than ten seconds. Only connections of a killed process
  close. A member that started while its store was failing may answer 502 or 503 until the store works.
- No client gets an older value than before.
- Streams stay open; every change, deletions included, reaches every stream within {seconds:.0f} seconds of
  the last fault, without the help of a later change.
- Usage is counted once; at most twice where a response or an acknowledgement may have been lost, and not
  at all where a process was killed within a second, or a store was emptied or failed over
  ([storage](storage.md)).
- Readiness is never 503 after startup, and is `ready` again once everything works.
- There is one stream to Harness for each environment; memory and open files are as at the start; no
  background service fails unexpectedly, no process ends by itself, and logs contain no secrets and no
  stack traces.
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
        "## Every kind of fault on every link\n",
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
    titles = ("form", "seed", "time", "faults", "answers", "events", "changes", "longest recovery")
    usage = ("posts", "still queued", "lost", "counted twice", "run")
    yield _table((*titles, *usage), rows)
    yield "Posts may only be queued, lost or counted twice as described above; otherwise the run fails.\n"


def _matrix(records: dict[str, Record]) -> Iterator[str]:
    yield (
        "In addition to the guarantees above: *ready*: readiness stays `ready` during the fault; "
        "*degraded*: it becomes `degraded` if the fault lasts; *arrive*: changes arrive during the "
        "fault, not only afterwards. In brackets: seconds from the end of the fault to full recovery "
        "in the newest run (several numbers: several ways to cause the fault).\n"
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
        "Requests with an invalid method, path, header field, token, framing or body, to every route. No "
        "answer is a 5xx, and none takes ten seconds.\n"
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
        "One process with `max-connections=3200` and `memory-budget=256 MiB`. Meanwhile a well-behaved "
        "client with one connection, in a separate process, must always get 200, and a probe must "
        "always get `ready`.\n"
    )
    yield _table(("kind", "number", "good client: p50 / p99 / longest", "memory, MiB", "files"), rows)
    if record is not None:
        yield f"Run: {_run_of(record)}.\n"


def _soak(records: dict[str, Record]) -> Iterator[str]:
    record = records.get("soak")
    if record is None:
        yield "No run yet.\n"
        return
    told = record.figures
    yield (
        f"{told['visits']:,} SDKs connected, fetched, evaluated, listened, posted and disconnected in "
        f"{told['seconds']:.0f} seconds. After a third of the time, and at the end with all of "
        f"them disconnected: memory {told['memory_early'] / _MEBIBYTE:.0f} and "
        f"{told['memory_end'] / _MEBIBYTE:.0f} MiB, open files {told['files_early']} and "
        f"{told['files_end']}, tasks {told['tasks_early']} and {told['tasks_end']}. The event loop "
        f"was never blocked for more than 50 ms of CPU time. Run: {_run_of(record)}.\n"
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
