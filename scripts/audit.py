"""make audit: licences, known vulnerabilities, and the bill of materials of what is locked.

Exit code 0 if all is well, 1 if something was found, 2 if it could not be found out.
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from scripts.generated import ROOT
from scripts.locked import Package, read_lock
from scripts.packages import commit_time
from scripts.project import read_project
from scripts.sbom import write_sbom

Ask = Callable[[str], str]
"""Asks a service, named as pip-audit does, what it knows: pip-audit's JSON. Raises ``UnreachableError``."""

# The first has all of runtime.txt and build.txt.
LOCKS: Final = ("requirements/dev.txt", "requirements/docs.txt")
_SERVICES: Final = ("pypi", "osv")
_PATIENCE: Final = 300
_HOST: Final = re.compile(r"HTTPS?ConnectionPool\(host='([^']+)'")
_LONGEST: Final = 200


class UnreachableError(Exception):
    """A service gave no answer; the text says why, in a few words."""


def ask_pip_audit(service: str) -> str:
    """Ask about every package of the locks, by name and version."""
    locks = [word for lock in LOCKS for word in ("--requirement", str(ROOT / lock))]
    options = ["--disable-pip", "--require-hashes", "--format", "json", "--progress-spinner", "off"]
    command = [sys.executable, "-m", "pip_audit", "--vulnerability-service", service, *options, *locks]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        raise UnreachableError(f"no answer within {_PATIENCE} seconds") from None
    if not done.stdout.startswith("{"):
        raise UnreachableError(_reason(done.stderr) or f"pip-audit ended with {done.returncode}")
    return done.stdout


def _reason(complaint: str) -> str:
    """What a trace comes down to."""
    if host := _HOST.search(complaint):
        return f"{host[1]} cannot be reached"
    return next((line.strip()[:_LONGEST] for line in reversed(complaint.splitlines()) if line.strip()), "")


def licences(packages: Sequence[Package]) -> tuple[int, list[str]]:
    """Whether every package may be used: an exit code, and what to say."""
    refused = [one for one in packages if not one.may_be_used]
    if not refused:
        return 0, [f"licences: {len(packages)} packages, each under one that is allowed"]
    return 1, [
        f"licences: {one.name} {one.version}: {one.licence or 'an unknown licence'} is not allowed"
        for one in refused
    ]


def vulnerabilities(ask: Ask = ask_pip_audit, services: Sequence[str] = _SERVICES) -> tuple[int, list[str]]:
    """What the first service that knows all packages has on them: an exit code, and what to say."""
    reasons = []
    for service in services:
        try:
            looked_up: list[dict[str, Any]] = json.loads(ask(service))["dependencies"]
        except UnreachableError as reason:
            reasons.append(f"{service}: {reason}")
            continue
        bad = [
            f"vulnerabilities: {one['name']} {one['version']}: {known['id']}, {_cure(known['fix_versions'])}"
            for one in looked_up
            for known in one.get("vulns", ())
        ]
        unknown = [one for one in looked_up if "skip_reason" in one]
        if bad:
            return 1, bad
        if not unknown:
            return 0, [f"vulnerabilities: none are known in {len(looked_up)} packages, says {service}"]
        reasons.append(f"{service}: knows nothing of {len(unknown)} of {len(looked_up)} packages")
    return 2, [f"vulnerabilities: NOT CHECKED, since no service answers here ({'; '.join(reasons)})"]


def _cure(versions: Sequence[str]) -> str:
    return f"fixed in {', '.join(versions)}" if versions else "not fixed yet"


def main() -> int:
    """Say everything, and return the worst exit code."""
    packages = read_lock()
    target = ROOT / "dist"
    target.mkdir(exist_ok=True)
    written = write_sbom(read_project(ROOT), packages, target, commit_time(ROOT, "HEAD"))
    found = [licences(packages), vulnerabilities()]
    for _, lines in found:
        sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.write(f"bill of materials: {written.relative_to(Path.cwd())}\n")
    codes = {code for code, _ in found}
    return next((code for code in (1, 2) if code in codes), 0)


if __name__ == "__main__":
    sys.exit(main())
