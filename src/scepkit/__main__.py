"""`python -m scepkit` is `scep`."""

import sys

from scepkit.cli import main

if __name__ == "__main__":
    sys.exit(main())
