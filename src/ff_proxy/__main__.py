"""``python -m ff_proxy`` is ``ff-proxy``."""

import sys

from ff_proxy.cli import main

if __name__ == "__main__":
    sys.exit(main())
