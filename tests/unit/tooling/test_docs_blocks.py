"""Every fenced block of the documentation is run by a test, or listed here with the reason why not."""

import fnmatch
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import pytest

from tests.integration.test_sdk_pages import BROWSERS, LANGUAGES
from tests.support.docs_blocks import ROOT, Block, blocks, pages
from tests.support.docs_shell import BEFORE, SHELL

_SHELL: Final = "tests/integration/test_docs_shell.py"
_SDKS: Final = "tests/integration/test_sdk_pages.py"
_COMMANDS: Final = "tests/integration/test_command_docs.py"


@dataclass(frozen=True, slots=True)
class Blocks:
    """Blocks of pages that match ``page``, whose text begins with something that matches ``begins``."""

    page: str
    begins: str = ""
    language: str | None = None

    def match(self, block: Block) -> bool:
        """Whether it is one of them."""
        return (
            fnmatch.fnmatchcase(block.page, self.page)
            and (self.language is None or block.language == self.language)
            and re.match(self.begins, block.text) is not None
        )


RUN_BY: Final[Mapping[Blocks, str]] = {
    **{Blocks(page, language=SHELL): _SHELL for page in BEFORE},
    Blocks("docs/*", language="toml"): _SHELL,
    Blocks("README.md", "make demo"): "tests/integration/test_demo.py",
    Blocks("docs/doctor.md", "ff-proxy doctor"): _COMMANDS,
    Blocks("docs/explain.md"): _COMMANDS,
    Blocks("docs/migration.md", "ff-proxy compare"): _COMMANDS,
    Blocks("docs/install/docker.md", "docker run"): "tests/deploy/test_image.py",
    Blocks("docs/install/kubernetes.md", "kubectl"): "tests/deploy/test_chart.py",
    Blocks("docs/install/packages.md"): "tests/deploy/test_packages.py",
    Blocks("docs/offline.md", language="yaml"): "tests/unit/offline/test_format.py",
    Blocks("docs/sandbox.md", "curl"): "tests/integration/test_sandbox_docs.py",
    **{Blocks(one.page, language=one.fence): _SDKS for one in LANGUAGES},
    **{Blocks(page, language=fence): _SDKS for page, fence, _ in BROWSERS},
}
"""The test that runs these blocks."""

_NO_TOOLCHAIN: Final = "no toolchain here: the names were checked in the SDK's source"
_FETCHES: Final = "fetches from a registry: tests/sdk pins the same package in a lock file"
NOT_RUN: Final[Mapping[Blocks, str]] = {
    Blocks("README.md", "make test"): "the suite itself",
    Blocks("docs/architecture.md"): "a drawing",
    Blocks("docs/doctor.md", "ok "): "abridged output of the line above",
    Blocks(
        "docs/migration.md", "production:"
    ): "abridged output; tests/integration/test_compare.py checks the form",
    Blocks("docs/offline.md", "config/"): "a drawing of a directory",
    Blocks(
        "docs/install/docker.md", "make image"
    ): "pushes to a registry; tests/deploy builds by the same script",
    Blocks(
        "docs/monitoring.md", "OTEL_"
    ): "a variable; tests/unit/telemetry sends to a collector that it names",
    Blocks("docs/release.md"): "publishes; tests/deploy/test_release.py does a dry run of each step",
    Blocks(
        "docs/sandbox.md", r"ff-proxy \\"
    ): "what `ff-proxy sandbox` prints; `sandbox -proxy` starts the same",
    Blocks("docs/sandbox.md", "from ff_proxy"): "an excerpt that waits for an application's stream",
    Blocks("docs/sdks/*", "(pip|npm) install|go get"): _FETCHES,
    **dict.fromkeys(
        [
            Blocks("docs/sdks/android.md", language="kotlin"),
            Blocks("docs/sdks/apex.md", language="apex"),
            Blocks("docs/sdks/dotnet.md", language="csharp"),
            Blocks("docs/sdks/elixir.md", language="elixir"),
            Blocks("docs/sdks/erlang.md", language="erlang"),
            Blocks("docs/sdks/flutter.md", language="dart"),
            Blocks("docs/sdks/ios.md", language="swift"),
            Blocks("docs/sdks/php.md", language="php"),
            Blocks("docs/sdks/react-native.md", language="jsx"),
            Blocks("docs/sdks/ruby.md", language="ruby"),
        ],
        _NO_TOOLCHAIN,
    ),
    Blocks(
        "docs/ofrep.md", "curl"
    ): "answered with another key; tests/conformance/test_http_ofrep.py asks the same",
    Blocks("docs/ofrep.md", "(pip|npm) install|go get"): _FETCHES,
}
"""Why these blocks are not run."""

_EVERY: Final = [block for page in pages() for block in blocks(page)]


@pytest.mark.parametrize("page", pages())
def test_every_block_is_run_or_excused(page: str) -> None:
    """Once: a new block has to be run by a test, or to say why not."""
    listed = [*RUN_BY, *NOT_RUN]
    for block in blocks(page):
        matching = [one for one in listed if one.match(block)]
        assert len(matching) == 1, f"{block.place}: {matching}\n{block.text}"


@pytest.mark.parametrize("listed", [*RUN_BY, *NOT_RUN], ids=str)
def test_every_entry_is_of_a_block(listed: Blocks) -> None:
    """None is left over from a page that has changed."""
    assert any(listed.match(block) for block in _EVERY)


@pytest.mark.parametrize("test", sorted(set(RUN_BY.values())))
def test_every_test_exists(test: str) -> None:
    """Under the name that stands here."""
    assert (ROOT / test).is_file()


def test_fences_are_found_wherever_they_stand() -> None:
    """Also in a list: what opens is closed, and nothing else looks like a fence."""
    for page in pages():
        fences = re.findall(r"(?m)^ *```", (ROOT / page).read_text("utf-8"))
        assert len(fences) == 2 * len(blocks(page)), page
