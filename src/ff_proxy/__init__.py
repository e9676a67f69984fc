"""ff-proxy: a relay proxy for Harness Feature Flags."""

__all__ = ["__version__"]

# Asking importlib.metadata would take a third of a probe's time.
__version__ = "0.1.0"
