"""The documentation as a site: Sphinx reads the Markdown that GitHub shows, from the top of the repository.

Sources stay where they are, so that a relative link means the same in both places. What stands where in the
site's menu is in ``navigation.yaml``.
"""

import re
from pathlib import Path
from typing import Any, Final

import yaml
from docutils import nodes
from sphinx.application import Sphinx

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
_ANCHOR: Final = re.compile(r'<a id="([a-z0-9-]+)">')

project = "ff-proxy"
author = "the ff-proxy authors"
extensions = ["myst_parser"]
root_doc = "docs/README"
include_patterns = ["docs/**.md", "*.md"]
# Not walked: what is built, installed and fetched.
exclude_patterns = [".*", "bench", "build", "dist", "deploy", "src", "tests", "scripts", "requirements"]
exclude_patterns += ["README.md"]  # what sells on the repository's page; the site begins with docs/README.md

# Anchors as GitHub makes them, and no guesses: an unknown one fails the build.
myst_heading_anchors = 4
nitpicky = True
# Languages that the highlighter does not know (Apex), and abridged output.
suppress_warnings = ["misc.highlighting_failure"]

html_theme = "furo"
html_title = "ff-proxy"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
html_show_sourcelink = False
pygments_style = "default"
pygments_dark_style = "github-dark"
highlight_language = "none"


def _add_menu(app: Sphinx, docname: str, source: list[str]) -> None:
    """Hang every page under the question that it answers: the first page's menu is the site's."""
    if docname != app.config.root_doc:
        return
    groups = yaml.safe_load((HERE / "navigation.yaml").read_text("utf-8"))
    listed = {docname, *(name for names in groups.values() for name in names)}
    for caption, names in groups.items():
        entries = "\n".join(f"/{page}" for name in names for page in _pages(name, listed))
        source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{entries}\n```\n"


def _pages(name: str, listed: set[str]) -> list[str]:
    """The page of that name; for ``folder/*`` those of the folder that stand nowhere by name."""
    if not name.endswith("*"):
        return [name]
    found = sorted(path.relative_to(ROOT).with_suffix("").as_posix() for path in ROOT.glob(f"{name}.md"))
    return [page for page in found if page not in listed]


def _know_anchors(app: Sphinx, doctree: nodes.document) -> None:
    """Let links lead to anchors that are written as HTML, as docs/spec has them."""
    slugs = app.env.metadata[app.env.docname].setdefault("myst_slugs", {})
    for raw in doctree.findall(nodes.raw):
        for anchor in _ANCHOR.findall(raw.astext()):
            slugs.setdefault(anchor, (raw.line or 0, anchor, anchor))


def _lead_to_first_page(app: Sphinx, error: Exception | None) -> None:
    """Whoever opens the site's folder is led to its first page."""
    if error is None and app.builder.format == "html":
        page = app.builder.get_target_uri(app.config.root_doc)
        text = (
            '<!doctype html><meta charset="utf-8"><title>ff-proxy</title>'
            f'<meta http-equiv="refresh" content="0; url={page}">'
        )
        (Path(app.outdir) / "index.html").write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Sphinx calls this."""
    app.connect("source-read", _add_menu)
    app.connect("doctree-read", _know_anchors)
    app.connect("build-finished", _lead_to_first_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
