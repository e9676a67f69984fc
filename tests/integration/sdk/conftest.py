"""The one campaign that all tests of this folder look at; it runs for what was selected, and only once."""

import asyncio
import os
from collections.abc import Sequence

import pytest

from tests.integration.sdk.campaign import Campaign, run
from tests.integration.sdk.places import PLACES
from tests.sdk.prepare import missing_tools, prepare
from tests.sdk.sdks import ALL, Sdk


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give every test that takes an `sdk` one run per SDK: what this machine lacks is skipped, or fails."""
    if "sdk" in metafunc.fixturenames:
        metafunc.parametrize("sdk", [_parameter(sdk) for sdk in ALL.values() if _is_wanted(sdk)])


def _is_wanted(sdk: Sdk) -> bool:
    """In CI a toolchain may be missing where that is agreed; elsewhere nothing is left out silently."""
    return not (sdk.optional and os.environ.get("CI") == "true" and missing_tools(sdk.name))


def _parameter(sdk: Sdk) -> object:
    missing = missing_tools(sdk.name)
    marks = [pytest.mark.skip(reason=f"this machine lacks {', '.join(missing)}")] if missing else []
    return pytest.param(sdk, id=sdk.name, marks=marks)


@pytest.fixture(scope="session")
def campaign(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    """What all SDKs saw at all places, of those that the selected tests ask for."""
    sdks = [sdk for sdk in ALL.values() if sdk in _selected(request, "sdk") and not missing_tools(sdk.name)]
    places = [place for place in PLACES if place in _selected(request, "place")]
    prepare(sdk.name for sdk in sdks)
    return asyncio.run(run(sdks, places, tmp_path_factory.mktemp("sdk")))


def _selected(request: pytest.FixtureRequest, name: str) -> Sequence[object]:
    """The values that a parameter has among the selected tests that look at the campaign."""
    return [
        item.callspec.params[name]
        for item in request.session.items
        if isinstance(item, pytest.Function)
        and "campaign" in item.fixturenames
        and name in item.callspec.params
    ]
