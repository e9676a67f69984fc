"""The demo where it cannot begin."""

import importlib.util
import io

import pytest

from ff_proxy.commands.demo import demo, run
from ff_proxy.errors import ConfigError, StartupError


def test_without_the_sdk_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation for production has no SDK."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(StartupError, match="pip install harness-featureflags"):
        demo(io.StringIO(), interactive=False)


def test_it_takes_no_options() -> None:
    """Rather than ignoring them."""
    with pytest.raises(ConfigError, match="-port"):
        run(["-port", "1"], {}, io.StringIO())
