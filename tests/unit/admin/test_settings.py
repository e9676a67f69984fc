"""The settings page lists options as the documentation does."""

from ff_proxy.admin.settings import by_section
from ff_proxy.app.admin import setting_rows
from ff_proxy.config.load import load
from ff_proxy.config.records import ALL
from ff_proxy.config.sections import SECTIONS


def test_sections_and_options_keep_their_order() -> None:
    """What is there for compatibility comes last."""
    sections = by_section(setting_rows(load(["-offline"], {})))
    assert tuple(sections) == SECTIONS
    assert [row.flag for rows in sections.values() for row in rows] == [option.flag for option in ALL]
