"""ff-proxy: a relay proxy for Harness Feature Flags."""

from importlib.metadata import version

__all__ = ["__version__"]

__version__ = version("ff-proxy")
