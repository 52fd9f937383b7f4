"""`python -m zen_fast` is `zen-fast`."""

import sys

from zen_fast.cli import main

if __name__ == "__main__":
    sys.exit(main())
