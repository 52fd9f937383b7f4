"""How every command of zen-fast ends: mistakes in one line, pipes and interrupts in peace."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from zen_fast.errors import ZenError

USER_MISTAKE = 2
INTERRUPTED = 130
BROKEN_PIPE = 141


def run_command(command: Callable[[], int]) -> int:
    """Run `command` and return its exit status; a ZenError becomes one line on stderr and 2.

    130 stands for an interrupt and 141 for a reader that went away, as a shell would report them.
    """
    try:
        status = command()
        sys.stdout.flush()
        return status
    except ZenError as error:
        print(f"zen-fast: error: {' '.join(str(error).split())}", file=sys.stderr)
        return USER_MISTAKE
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The interpreter flushes stdout once more on its way out; let that go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
