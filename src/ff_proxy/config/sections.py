"""The headings of the help, in order."""

from typing import Final

HARNESS: Final = "Harness"
MODE: Final = "Mode"
SERVING: Final = "Serving"
SECURITY: Final = "Security"
STORE: Final = "Store"
SYNC: Final = "Synchronisation"
OPERATION: Final = "Operation"
SOURCES: Final = "Sources"
COMPATIBILITY: Final = "Compatibility"

SECTIONS: Final = (HARNESS, MODE, SERVING, SECURITY, STORE, SYNC, OPERATION, SOURCES, COMPATIBILITY)
