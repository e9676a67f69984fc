"""How the suite is shared out over processes."""

import pytest

from tests.support.distribution import group


@pytest.mark.parametrize(
    ("nodeid", "expected"),
    [
        ("tests/unit/http/test_parser.py::test_x[a::b]", "tests/unit/http/test_parser.py"),
        ("tests/integration/sdk/test_sdks.py::test_x[go]", "integration/sdk"),
        ("tests/integration/sdk/test_other.py::test_y", "integration/sdk"),
        ("tests/fleet/test_fleet.py::test_x", "fleet/test_fleet.py"),
        ("tests/fleet/test_take_over.py::test_x[1]", "tests/fleet/test_take_over.py::test_x[1]"),
        ("tests/contract/test_configs.py::test_x", "contract"),
    ],
)
def test_groups(nodeid: str, expected: str) -> None:
    """A module, what shares a fixture, or a test that has processes of its own."""
    assert group(nodeid) == expected
