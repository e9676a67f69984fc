"""The documentation builds as a site without a warning, and asks nothing of any other host."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
FETCHED: Final = re.compile(
    r"""<(?:script|img|iframe|source)[^>]*\ssrc=["'](?:https?:)?//[^"']*
      | <link[^>]*rel=["'](?:stylesheet|preload|icon|preconnect)["'][^>]*href=["'](?:https?:)?//[^"']*
      | @import\s*(?:url\()?["']?(?:https?:)?// | url\(["']?(?:https?:)?//""",
    re.VERBOSE,
)


def test_it_builds_without_a_warning(tmp_path: Path) -> None:
    """Links and anchors lead somewhere, every page is in the menu, and nothing is fetched from elsewhere."""
    site = tmp_path / "site"
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "-c", "docs/site"]
    built = subprocess.run(
        [*command, "-d", str(tmp_path / "doctrees"), ".", str(site)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    pages = {path.relative_to(site).with_suffix("").as_posix() for path in site.rglob("*.html")}
    assert {"index", "docs/README", "docs/options", "CONTRIBUTING"} <= pages
    for path in [*site.rglob("*.html"), *site.rglob("*.css")]:
        assert FETCHED.findall(path.read_text("utf-8")) == [], path
