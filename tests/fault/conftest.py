"""What every test here is held to."""

from tests.support.clean_logs import clean_logs, logs

__all__ = ["clean_logs", "logs"]
