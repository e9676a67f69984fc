"""Every citation of ``docs/spec`` in code, tests and docs resolves, and anchors are unique."""

import re
from collections import Counter
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[3]
_SPEC = _ROOT / "docs" / "spec"
_CITATION = re.compile(r"\bspec/([a-z-]+)#([a-z0-9-]+)")
_LINK = re.compile(r"\(([a-z-]*)(?:\.md)?#([a-z0-9-]+)\)")
_ANCHOR = re.compile(r'<a id="([a-z0-9-]+)"></a>')
_OUTSIDE = re.compile(r"\b(?:PRODUCT|sdk-contract|ff-proxy-inventory|ARCHITECTURE) *§|\bff-proxy-inventory\b")


def _anchors(page: Path) -> list[str]:
    return _ANCHOR.findall(page.read_text("utf-8"))


def _sources() -> list[Path]:
    found = [
        path
        for folder in ("src", "tests", "bench", "scripts", "docs")
        for path in (_ROOT / folder).rglob("*")
        if path.suffix in {".py", ".md"} and "node_modules" not in path.parts
    ]
    assert len(found) > 300
    return found


@pytest.mark.parametrize("page", sorted(_SPEC.glob("*.md")), ids=lambda page: page.stem)
def test_anchors_are_unique(page: Path) -> None:
    """Or a citation would be ambiguous."""
    assert [anchor for anchor, times in Counter(_anchors(page)).items() if times > 1] == []


def test_citations_resolve() -> None:
    """In docstrings, comments, tests and pages."""
    known = {(page.stem, anchor) for page in _SPEC.glob("*.md") for anchor in _anchors(page)}
    cited = {
        (str(path.relative_to(_ROOT)), citation)
        for path in _sources()
        for citation in _CITATION.findall(path.read_text("utf-8"))
    }
    assert sorted((path, citation) for path, citation in cited if citation not in known) == []


@pytest.mark.parametrize("page", sorted(_SPEC.glob("*.md")), ids=lambda page: page.stem)
def test_links_between_the_pages_resolve(page: Path) -> None:
    """Within a page and from one to the other."""
    for target, anchor in _LINK.findall(page.read_text("utf-8")):
        other = _SPEC / f"{target}.md" if target else page
        assert anchor in _anchors(other), (page.name, target, anchor)


def test_nothing_cites_papers_outside_the_repository() -> None:
    """Readers cannot look them up."""
    citing = [
        str(path.relative_to(_ROOT))
        for path in _sources()
        if path != Path(__file__) and _OUTSIDE.search(path.read_text("utf-8"))
    ]
    assert citing == []


def test_a_dead_citation_would_be_found() -> None:
    """The pattern reads what the code writes."""
    dead = "spec/behaviour" + "#nowhere"
    assert _CITATION.findall(f"see ({dead}).") == [("behaviour", "nowhere")]
    assert _OUTSIDE.search("(PRODUCT" + " §3)") is not None
